"""What does not fit is ignored and changes nothing; engines hand states over when they are stopped."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest
import torch

from latentfarm.errors import CheckpointError
from latentfarm.spec import RefinerSpec
from latentfarm.states import Stage
from tests.interrupting import order_of, step
from tests.rig import Rig
from worker.engine.checkpoint import restore, snapshot
from worker.engine.order import Checkpoint, Picture
from worker.engine.prepare import prepare

if TYPE_CHECKING:
    from tests.rig import MakeSpec
    from worker.engine.model import LoadedModel


@pytest.fixture
def kept(tiny: LoadedModel, make: MakeSpec) -> Checkpoint:
    """Of a reproducible render, after 3 of 5 steps."""
    with torch.inference_mode():
        sample = prepare(order_of(make(reproducible=True), 5), tiny)
        for _ in range(3):
            step(sample, tiny)
        return snapshot(sample)


def ruin(kept: Checkpoint, latents: torch.Tensor) -> dict[str, Any]:
    return {**kept.state, "latents": {"cpu": latents}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"step": 0}, "step 0 of 5"),
        ({"step": 5}, "step 5 of 5"),
        ({"state": {}}, "cannot be read"),
        ({"state": "latents"}, "hold NaN"),
        ({"state": "shape"}, "latents are"),
        ({"state": "generator"}, "cannot be read"),
        *(({"header": {name: "x"}}, name) for name in ("spec", "seed", "stage", "total", "model_hash")),
        *(({"header": {name: "x"}}, name) for name in ("sampler", "versions", "handover", "version")),
        *(({"header": {name: "x"}}, name) for name in ("device", "threads", "bucket", "something new")),
    ],
)
def test_what_does_not_fit_changes_nothing(
    changes: dict[str, Any], message: str, kept: Checkpoint, tiny: LoadedModel, make: MakeSpec
) -> None:
    ruined = {
        "latents": ruin(kept, torch.full((1, 4, 8, 8), float("nan"))),
        "shape": ruin(kept, torch.zeros(1, 4, 8, 9)),
        "generator": {**kept.state, "generator": {"cpu": torch.zeros(3, dtype=torch.uint8)}},
    }
    if "header" in changes:
        changes = {"header": {**kept.header, **changes["header"]}}
    elif "state" in changes and isinstance(changes["state"], str):
        changes = {"state": ruined[changes["state"]]}
    wrong = dataclasses.replace(kept, **changes)
    with torch.inference_mode():
        fresh, sample = (prepare(order_of(make(reproducible=True), 5), tiny) for _ in range(2))
        with pytest.raises(CheckpointError, match=message):
            restore(sample, wrong)
        assert sample.index == 0
        for _ in range(5):
            step(sample, tiny)
            step(fresh, tiny)
    assert torch.equal(sample.latents, fresh.latents)


def test_bits_of_another_device_are_taken_where_nobody_asked_for_bits(
    tiny: LoadedModel, make: MakeSpec
) -> None:
    with torch.inference_mode():
        assert {"device", "threads", "bucket"}.isdisjoint(prepare(order_of(make(), 5), tiny).agreed)


def test_prompts_are_not_in_a_header(kept: Checkpoint) -> None:
    assert "red" not in str(kept.header)


# In the engine


def test_a_stopped_engine_gives_back_states_that_another_goes_on_with(
    make: MakeSpec, tiny: LoadedModel
) -> None:
    spec = make(num_inference_steps=40, reproducible=True, sampler="euler_ancestral")
    with Rig(tiny) as rig:
        whole = rig.pictures([(spec, seed) for seed in range(6)])
    first = Rig(tiny)
    first.engine.start()
    orders = [first.submit(spec, seed) for seed in range(6)]
    first.until_stepped(orders[0], 7)
    unfinished = first.engine.stop()
    assert [left.order for left in unfinished] == orders
    with Rig(tiny) as second:
        for order, left in zip(orders, unfinished, strict=True):
            second.engine.submit(dataclasses.replace(order, checkpoint=left.checkpoint))
        found = [second.picture(order) for order in orders]
    assert all(torch.equal(one.pixels, other.pixels) for one, other in zip(found, whole, strict=True))
    for left in unfinished:
        render = left.order.render_id
        before = len(first.recorder.steps.get(render, []))
        assert (left.checkpoint.step if left.checkpoint else 0) == before
        assert second.recorder.steps[render][0] == (before + 1, 40), "no step was lost or taken twice"


def test_states_are_told_of_now_and_then(make: MakeSpec, tiny: LoadedModel) -> None:
    """After each step but the first and the last when no time need pass; never when nobody wants any."""
    for checkpoint_s, steps in ((1e-9, [2, 3, 4]), (0.0, None), (3600.0, None)):
        with Rig(tiny, checkpoint_s=checkpoint_s) as rig:
            order = rig.submit(make())
            assert isinstance(rig.result(order), Picture)
            told = rig.recorder.checkpoints.get(order.render_id)
            assert (None if told is None else [each.step for each in told]) == steps


def test_a_checkpoint_that_does_not_fit_is_no_failure(
    make: MakeSpec, tiny: LoadedModel, kept: Checkpoint, caplog: pytest.LogCaptureFixture
) -> None:
    other = make(reproducible=True, guidance_scale=3.0)
    with Rig(tiny) as rig:
        resumed = rig.submit(other, 5, checkpoint=kept)
        fresh = rig.submit(other, 5)
        assert torch.equal(rig.picture(resumed).pixels, rig.picture(fresh).pixels)
        assert len(rig.recorder.steps[resumed.render_id]) == 5
    assert [
        record.getMessage() for record in caplog.records if "ignored: it was made with spec" in record.message
    ]


def test_refine_stages_are_told_apart_by_the_latents_they_began_with(
    make: MakeSpec, tiny: LoadedModel
) -> None:
    spec = make(refiner=RefinerSpec(high_noise_frac=0.4))
    with Rig(tiny) as rig, torch.inference_mode():
        handovers = [rig.result(rig.submit(spec, seed)) for seed in (1, 2)]
        samples = [
            prepare(
                dataclasses.replace(order_of(spec, 1), stage=Stage.REFINE, handover=_with_seed(handover)),
                tiny,
            )
            for handover in handovers
        ]
        step(samples[0], tiny)
        with pytest.raises(CheckpointError, match="handover"):
            restore(samples[1], snapshot(samples[0]))


def _with_seed(handover: Any) -> Any:
    return dataclasses.replace(handover, header={**handover.header, "seed": "1"})
