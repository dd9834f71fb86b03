"""Pass 1: each row becomes the samples that it asks for."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from latentfarm.manifests import parts
from latentfarm.manifests.checked import Adapters, Counts, Part, Skipped
from latentfarm.manifests.parts import line_of
from latentfarm.records import ObjectRef
from latentfarm.spec import SEED_RANGE, RenderSpec, digest
from latentfarm.validation import complete
from tests.manifests import ENTRY, REGISTRY, SEED, Check, refused


def test_a_row_becomes_a_complete_sample() -> None:
    row = {"prompt": 'ü "🐈"\t\n', "negative_prompt": "dog", "id": "first", "metadata": {"k": "v"}}
    [sample] = Check([row], defaults={"num_inference_steps": 7}).samples
    spec = complete(
        RenderSpec(prompt=row["prompt"], negative_prompt="dog", num_inference_steps=7, reproducible=True),
        ENTRY,
    )
    assert json.loads(sample.picture) == spec.picture()
    assert sample.digest == digest(spec.picture()) == hashlib.sha256(sample.picture.encode()).digest()
    assert (sample.ordinal, sample.id, sample.seed) == (0, "first", SEED)
    assert (sample.metadata, sample.line) == ({"k": "v"}, 1)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"prompt_2": "b", "negative_prompt": None},
        {"model": "toy", "eta": 0.5},
        {"refiner": {"mode": "image"}, "loras": [{"name": "ink", "weight": -1}]},
        {"prompt_weighting": "compel", "prompt": "(cat)1.2"},
        {"output": {"format": "jpeg", "quality": 80}, "width": 512},
    ],
)
def test_a_recipe_gives_the_digest_that_a_job_of_its_own_would_have(fields: dict[str, Any]) -> None:
    rows = [{"prompt": "a cat"} | fields, {"prompt": "another"} | fields]
    for sample, row in zip(Check(rows).samples, rows, strict=True):
        spec = RenderSpec.model_validate_json(json.dumps(row | {"reproducible": True}))
        assert sample.digest == digest(complete(spec, REGISTRY.get(spec.model)).picture())


def test_seeds_follow_the_global_ordinal_unless_the_row_has_its_own() -> None:
    rows = [{"prompt": "a", "num_images": 2}, {"prompt": "b", "seed": 5, "num_images": 2}, {"prompt": "c"}]
    found = Check(rows, seed=SEED_RANGE - 1)
    assert [sample.seed for sample in found.samples] == [SEED_RANGE - 1, 0, 5, 6, 3]
    assert [sample.ordinal for sample in found.samples] == [0, 1, 2, 3, 4]


def test_an_id_gets_a_number_where_its_row_gives_several_images() -> None:
    rows = [{"prompt": "a", "id": "x", "num_images": 2}, {"prompt": "b"}, {"prompt": "c", "id": "y"}]
    assert [sample.id for sample in Check(rows).samples] == ["x-0", "x-1", "000000002", "y"]
    swept = Check(rows[2:], sweep={"product": {"eta": [0, 0.0]}, "zip": {}})
    assert [sample.id for sample in swept.samples] == ["y-0", "y-1"]


def test_rows_sweeps_and_templates_multiply_in_a_fixed_order() -> None:
    found = Check(
        [{"prompt": "{a|b}", "negative_prompt": "n"}, {"prompt": "c"}],
        template="combinatorial",
        defaults={"num_images": 2, "guidance_scale": 1},
        sweep={"product": {"guidance_scale": [3, 4]}},
    )
    pictures = [json.loads(sample.picture) for sample in found.samples]
    assert [(p["guidance_scale"], p["prompt"]) for p in pictures] == [
        *[(3, "a")] * 2, *[(3, "b")] * 2, *[(4, "a")] * 2, *[(4, "b")] * 2,
        *[(3, "c")] * 2, *[(4, "c")] * 2,
    ]  # fmt: skip
    assert found.found.counts == Counts(rows=2, images=12, skipped=0)
    assert {p["negative_prompt"] for p in pictures} == {"n", None}


def test_prompts_may_be_swept_over() -> None:
    assert Check([{}], sweep={"product": {"prompt": ["a", "b"]}}).prompts == ["a", "b"]


def test_random_templates_draw_anew_for_each_row_and_the_same_every_time() -> None:
    options: dict[str, Any] = {"template": "random", "template_samples": 4}
    rows = [{"prompt": "{a|b|c|d|e|f|g|h}"}] * 2
    prompts = Check(rows, **options).prompts
    assert prompts == Check(rows, **options).prompts
    assert prompts[:4] != prompts[4:]


def test_samples_are_spooled_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("latentfarm.manifests.spool.PART_SAMPLES", 4)
    found = Check([{"prompt": str(number)} for number in range(9)])
    assert found.prompts == [str(number) for number in range(9)]
    assert [(part.number, part.first, part.count) for part in found.found.parts] == [
        (0, 0, 4),
        (1, 4, 4),
        (2, 8, 1),
    ]
    assert found.found.parts[1] == Part(
        1, ObjectRef("part-1", hashlib.sha256(found.data[1]).digest(), len(found.data[1])), 4, 4
    )
    assert parts.PART_SAMPLES == 10_000


def test_long_prompts_fill_a_part_before_it_has_all_its_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten thousand prompts of 32 kB would be gigabytes in memory."""
    monkeypatch.setattr("latentfarm.manifests.spool.PART_BYTES", 20_000)
    rows = [{"prompt": str(number) * (8_000 if number < 6 else 1)} for number in range(9)]
    found = Check(rows)
    assert found.prompts == [row["prompt"] for row in rows]
    assert [(part.number, part.first, part.count) for part in found.found.parts] == [
        (0, 0, 3),
        (1, 3, 3),
        (2, 6, 3),
    ]
    assert parts.PART_BYTES == 16 * 1024**2


def test_the_digest_is_of_all_lines_whatever_the_parts_are(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"prompt": str(number)} for number in range(9)]
    found = Check(rows)
    lines = b"".join(line_of(sample) for sample in found.samples)
    assert found.found.digest == hashlib.sha256(lines).digest()
    monkeypatch.setattr("latentfarm.manifests.spool.PART_SAMPLES", 4)
    assert Check(rows).found.digest == found.found.digest
    assert Check(rows[:8]).found.digest != found.found.digest
    assert Check(rows, seed=1).found.digest != found.found.digest


def test_a_manifest_may_come_again_or_with_more_rows() -> None:
    rows = [{"prompt": str(number)} for number in range(9)]
    before = Check(rows[:5]).found
    previous = (before.counts.images, before.digest)
    assert Check(rows[:5], previous=previous).found == before
    grown = Check(rows, previous=previous)
    assert grown.found.counts.images == 9
    assert grown.samples[:5] == Check(rows[:5]).samples


@pytest.mark.parametrize(
    "change", [{"prompt": "other"}, {"prompt": "1", "seed": 3}, {"prompt": "1", "id": "x"}]
)
def test_a_manifest_whose_first_rows_changed_is_refused(change: dict[str, Any]) -> None:
    rows = [{"prompt": str(number)} for number in range(9)]
    before = Check(rows[:5]).found
    rows[1] = change
    assert "manifest: has changed: its first 5 images" in str(refused(rows, previous=(5, before.digest)))


def test_a_manifest_that_became_shorter_is_refused() -> None:
    rows = [{"prompt": str(number)} for number in range(9)]
    before = Check(rows).found
    assert "gives 8 images, and the run" in str(refused(rows[:8], previous=(9, before.digest)))


def test_the_first_samples_are_shown_and_duplicates_counted() -> None:
    rows = [{"prompt": str(number % 4), "seed": number % 2} for number in range(15)]
    found = Check(rows)
    assert list(found.found.first) == found.samples[:10]
    assert found.found.duplicates == 15 - 4
    assert Check([{"prompt": "a"}] * 15).found.duplicates == 0  # each has a seed of its own


def test_what_is_left_out_is_listed_up_to_a_thousand() -> None:
    rows = [{"prompt": "a"}] + [{"prompt": "a", "seed": -1}] * 1_005
    found = Check(rows, skip_invalid=True).found
    assert (found.counts.skipped, len(found.skipped)) == (1_005, 1_000)
    assert found.skipped[0] == Skipped(2, "seed", f"is no seed (allowed: 0 to {SEED_RANGE - 1})")


def test_work_and_models_are_added_up() -> None:
    rows = [
        {"prompt": "a", "num_inference_steps": 10, "num_images": 3},
        {"prompt": "b", "num_inference_steps": 10, "model": "toy", "loras": [{"name": "ink"}]},
        {"prompt": "c", "num_inference_steps": 10, "refiner": {"mode": "image", "strength": 0.5}},
    ]
    found = Check(rows).found
    assert found.megapixel_steps == pytest.approx(0.8 * (30 + 10 + 15))
    assert found.models == {"tiny": Adapters(), "toy": Adapters(loras=("ink",))}


def test_models_of_rows_that_are_left_out_are_not_used() -> None:
    rows = [{"prompt": "a"}, {"prompt": "a\0", "model": "toy"}]
    assert list(Check(rows, skip_invalid=True).found.models) == ["tiny"]
