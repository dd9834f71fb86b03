"""Joining, leaving, waiting one's turn: everything that happens at step boundaries."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from latentfarm.spec import RefinerSpec
from latentfarm.states import Lane, Stage
from tests.rig import Rig
from worker.engine.order import Handover, Picture, Unfinished

if TYPE_CHECKING:
    from latentfarm.registry import ModelEntry
    from tests.rig import MakeSpec
    from worker.engine.model import LoadedModel


def test_batches_are_full_while_there_is_work(make: MakeSpec, tiny: LoadedModel) -> None:
    specs = [
        (make(num_inference_steps=4 + i % 5, guidance_scale=1.0 if i % 5 == 0 else 5.0), i) for i in range(24)
    ]
    with Rig(tiny) as rig:
        rig.pictures(specs)
        counters = rig.engine.counters
    assert counters.full_bucket_rows > 0, "never 8 in flight"
    assert counters.full_rows / counters.full_bucket_rows >= 0.75
    assert counters.steps == sum(4 + i % 5 for i in range(24))


def test_no_thread_keeps_the_interpreter_for_long(make: MakeSpec, tiny: LoadedModel) -> None:
    """Else each of the render thread's operations may wait 5 ms for one that computes in Python."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.005)
    try:
        with Rig(tiny) as rig:
            rig.picture(rig.submit(make()))
            assert sys.getswitchinterval() < 0.001
    finally:
        sys.setswitchinterval(before)


def test_progress_counts_every_evaluation_once(make: MakeSpec, tiny: LoadedModel) -> None:
    with Rig(tiny) as rig:
        order = rig.submit(make(sampler="heun", num_inference_steps=4, refiner=RefinerSpec()))
        rig.picture(order)
        steps = rig.recorder.steps[order.render_id]
    base = [done for done, total in steps if total == steps[0][1]]
    assert base[: steps[0][1]] == list(range(1, steps[0][1] + 1))
    assert steps[-1][0] == steps[-1][1]


def test_a_dropped_render_ends_within_two_steps_and_is_not_told_of(make: MakeSpec, tiny: LoadedModel) -> None:
    with Rig(tiny) as rig:
        doomed = rig.submit(make(num_inference_steps=200))
        rig.until_stepped(doomed, 3)
        rig.engine.drop(doomed.render_id)
        seen = len(rig.recorder.steps[doomed.render_id])
        rig.picture(rig.submit(make()))
        assert rig.engine.in_flight() == 0
        assert len(rig.recorder.steps[doomed.render_id]) <= seen + 1
        assert (doomed.render_id, Stage.BASE) not in rig.recorder.results


def test_an_interactive_render_passes_the_bulk_at_the_next_boundary(
    make: MakeSpec, tiny: LoadedModel
) -> None:
    with Rig(tiny) as rig:
        bulk = [rig.submit(make(num_inference_steps=100), i) for i in range(16)]
        rig.until_stepped(bulk[0], 2)
        urgent = rig.submit(make(), lane=Lane.INTERACTIVE)
        rig.picture(urgent)
        order = rig.recorder.timeline
        first = order.index(("step", urgent.render_id))
        last = order.index(("end", urgent.render_id))
        assert rig.engine.in_flight(Lane.BULK) == 16
        assert rig.engine.in_flight(Lane.INTERACTIVE) == 0
    # From its first step on it is in every forward: at most the rest of a bucket between its steps.
    assert last - first <= 5 * 8 + 16


def test_a_rare_shape_does_not_starve(make: MakeSpec, tiny: LoadedModel) -> None:
    with Rig(tiny) as rig:
        for i in range(4):
            rig.submit(make(num_inference_steps=150), i, lane=Lane.INTERACTIVE)
        rare = rig.submit(make(width=72, num_inference_steps=2))
        started = rig.engine.counters.forwards
        assert isinstance(rig.result(rare), Picture)
        assert rig.engine.counters.forwards - started < 100
        assert rig.engine.in_flight(Lane.INTERACTIVE) == 4


def test_a_suspect_runs_alone(make: MakeSpec, tiny: LoadedModel) -> None:
    with Rig(tiny) as rig:
        before = [rig.submit(make(num_inference_steps=8), i) for i in range(3)]
        suspect = rig.submit(make(num_inference_steps=8), 9, alone=True)
        after = [rig.submit(make(num_inference_steps=3), i) for i in range(3)]
        for order in [*before, suspect, *after]:
            rig.picture(order)
        timeline = rig.recorder.timeline
    first = timeline.index(("step", suspect.render_id))
    last = timeline.index(("end", suspect.render_id))
    assert {render for _, render in timeline[first : last + 1]} == {suspect.render_id}
    assert all(timeline.index(("end", order.render_id)) < first for order in before)
    assert all(timeline.index(("step", order.render_id)) > last for order in after)


def test_stop_gives_back_what_is_not_finished(make: MakeSpec, tiny: LoadedModel) -> None:
    rig = Rig(tiny)
    rig.engine.start()
    orders = [rig.submit(make(num_inference_steps=200), i) for i in range(20)]
    rig.until_stepped(orders[0], 2)
    assert [left.order.render_id for left in rig.engine.stop()] == [order.render_id for order in orders]
    assert rig.engine.in_flight() == 0
    assert rig.recorder.results == {}


def test_stop_before_start(make: MakeSpec, tiny: LoadedModel) -> None:
    rig = Rig(tiny)
    order = rig.submit(make())
    assert rig.engine.stop() == [Unfinished(order)]


def test_a_prompt_that_was_cut_is_told_of_also_through_the_refiner(make: MakeSpec, tiny: LoadedModel) -> None:
    long = make(prompt="word " * 90, negative_prompt="short", refiner=RefinerSpec())
    with Rig(tiny) as rig:
        cut, whole = rig.pictures([(long, 1), (make(), 1)])
    assert len(cut.warnings) == 1
    assert cut.warnings[0].startswith("prompt was cut")
    assert "77" in cut.warnings[0]
    assert whole.warnings == ()


def test_notes_say_what_the_picture_depends_on(make: MakeSpec, tiny: LoadedModel) -> None:
    with Rig(tiny) as rig:
        plain, refined = rig.pictures([(make(), 1), (make(refiner=RefinerSpec(high_noise_frac=0.5)), 1)])
    assert plain.notes["model_hash"] == tiny.hashes[Stage.BASE]
    assert "refiner_hash" not in plain.notes
    assert plain.notes["steps_done"] == "5"
    assert refined.notes["refiner_hash"] == tiny.hashes[Stage.REFINE]
    assert (refined.notes["base_steps_done"], refined.notes["steps_done"]) == ("2", "3")
    assert {"bucket", "device", "dtype", "threads", "versions"} <= set(plain.notes)


def test_an_idle_engine_beats(tiny: LoadedModel) -> None:
    with Rig(tiny) as rig:
        before = rig.engine.counters.beat
        deadline = time.monotonic() + 20
        while rig.engine.counters.beat < before + 3:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_base_and_refiner_in_engines_of_their_own(
    make: MakeSpec, tiny: LoadedModel, tiny_entry: ModelEntry
) -> None:
    """As in two workers: one has no refiner, the other no base, and the image is the same."""
    from worker.engine.model import load_model

    spec = make(refiner=RefinerSpec(), reproducible=True)
    with Rig(tiny) as rig:
        together = rig.picture(rig.submit(spec, 3))
    base, refiner = load_model(tiny_entry, [Stage.BASE]), load_model(tiny_entry, [Stage.REFINE])
    assert set(base.pipelines) == {Stage.BASE}
    assert set(refiner.pipelines) == {Stage.REFINE}
    with Rig(base) as first, Rig(refiner) as second:
        handover = first.result(first.submit(spec, 3))
        assert isinstance(handover, Handover)
        apart = second.picture(second.submit(spec, 3, stage=Stage.REFINE, handover=handover))
    assert together.pixels.equal(apart.pixels)
    assert together.notes == apart.notes
