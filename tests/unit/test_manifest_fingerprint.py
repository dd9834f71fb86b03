"""What makes the pictures of a run, and how two runs of one name differ."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from latentfarm.manifests.checked import Adapters
from latentfarm.manifests.fingerprint import Fingerprint, difference, fingerprint
from latentfarm.manifests.request import DatasetRequest
from latentfarm.registry import ModelEntry, Registry

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def registry(**changes: Any) -> Registry:
    entry = {
        "name": "toy",
        "base": "owner/toy",
        "revision": COMMIT,
        "loras": {"ink": {"file": "/nowhere/ink.safetensors"}, "oil": {"file": "/nowhere/oil.safetensors"}},
    }
    toy = ModelEntry.model_validate(entry | changes)
    return Registry({"toy": toy, "other": toy.model_copy(update={"name": "other"})})


def of(
    *,
    seed: int = 1,
    entries: Registry | None = None,
    models: dict[str, Adapters] | None = None,
    **changes: Any,
) -> Fingerprint:
    request = DatasetRequest.model_validate({"name": "a", "manifest": {"prompts": ("x",)}} | changes)
    used = {"toy": Adapters()} if models is None else models
    return fingerprint(request, seed=seed, registry=entries or registry(), models=used)


def changes(old: Fingerprint, new: Fingerprint) -> list[str]:
    return [str(change) for change in difference(old.text, new.text)]


def test_the_same_run_has_the_same_fingerprint() -> None:
    first, second = of(defaults={"eta": 0, "width": 64}), of(defaults={"width": 64, "eta": 0})
    assert first == second
    assert first.sha256 == hashlib.sha256(first.text.encode()).digest()
    assert difference(first.text, second.text) == []


def test_what_does_not_change_a_picture_is_left_out() -> None:
    less = of()
    assert less == of(name="b", layout="parquet", shard_samples=5, priority=3, metadata={"a": "b"})
    assert less == of(defaults={"keep_latents": 60, "reproducible": True})
    assert less == of(wildcards={"a": ("b",)}, template_samples=3)  # nothing asks for either
    assert less == of(entries=registry(max_size=4_096, loras={"ink": {"file": "/elsewhere/a.safetensors"}}))


def test_a_change_is_named_with_both_values() -> None:
    old = of(defaults={"num_inference_steps": 30, "eta": 0.5})
    new = of(defaults={"num_inference_steps": 20}, seed=2, sweep={"product": {"width": (64, 72)}})
    assert changes(old, new) == [
        "defaults.eta: 0.5 before, null now",
        "defaults.num_inference_steps: 30 before, 20 now",
        "seed: 1 before, 2 now",
        "sweep.product.width: null before, [64, 72] now",
    ]
    first = difference(old.text, new.text)[0]
    assert (first.field, first.before, first.after) == ("defaults.eta", 0.5, None)


def test_templates_and_wildcards_make_pictures() -> None:
    old = of(template="random", wildcards={"a": ("b",)})
    assert changes(old, of(template="random", wildcards={"a": ("c",)}, template_samples=2)) == [
        "template_samples: 1 before, 2 now",
        'wildcards.a: ["b"] before, ["c"] now',
    ]


def test_a_model_is_its_files_and_what_the_entry_leaves_to_it() -> None:
    new = of(entries=registry(revision=COMMIT[::-1], dtype="bfloat16", sampler="ddim"))
    assert [change.field for change in difference(of().text, new.text)] == [
        "models.toy.dtype",
        "models.toy.places.base",
        "models.toy.sampler",
    ]


def test_adapters_count_where_they_are_used() -> None:
    used = {"toy": Adapters(loras=("ink",))}
    moved = registry(loras={"ink": {"file": "/elsewhere/ink.safetensors"}})
    assert changes(of(models=used), of(models=used, entries=moved)) == [
        'models.toy.loras.ink: "/nowhere/ink.safetensors" before, "/elsewhere/ink.safetensors" now'
    ]


def test_rows_that_were_appended_may_use_another_model() -> None:
    both = {"toy": Adapters(), "other": Adapters()}
    assert changes(of(), of(models=both)) == []
    assert [change.field for change in difference(of(models=both).text, of().text)] == ["models.other"]


def test_true_is_not_1() -> None:
    old, new = json.loads(of().text), json.loads(of().text)
    old["defaults"], new["defaults"] = {"eta": True}, {"eta": 1}
    assert [change.field for change in difference(json.dumps(old), json.dumps(new))] == ["defaults.eta"]


def test_a_long_value_is_cut_where_it_is_shown() -> None:
    old, new = of(defaults={"prompt": "a" * 500}), of(defaults={"prompt": "b"})
    [shown] = changes(old, new)
    assert len(shown) < 260
