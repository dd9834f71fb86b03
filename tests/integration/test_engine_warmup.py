"""What is compiled is settled before a worker is ready, and no shape fails for being the ninth.

The compiler in these tests only counts what it is given: torch's own takes a minute for each shape here.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import pytest
import torch

from latentfarm.speed import Speed
from latentfarm.states import Stage
from tests.rig import Rig
from worker.engine.model import load_model
from worker.engine.warmup import compile_nothing_more, row_counts, warm_up
from worker.warming import needs_warming, orders_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentfarm.registry import ModelEntry
    from tests.rig import MakeSpec


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Grows by one with each graph that is compiled."""
    graphs: list[int] = []

    def count(graph: Any, _inputs: Any) -> Any:
        graphs.append(1)
        return graph.forward

    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=count))
    before = torch._dynamo.config.recompile_limit, torch._dynamo.config.accumulated_recompile_limit
    torch._dynamo.reset()
    yield graphs
    torch.compiler.set_stance("default")
    torch._dynamo.reset()
    torch._dynamo.config.recompile_limit, torch._dynamo.config.accumulated_recompile_limit = before


@pytest.fixture
def entry(tiny_entry: ModelEntry) -> ModelEntry:
    return tiny_entry.model_copy(update={"speed": Speed(compile="regional"), "bucket": 2})


@pytest.mark.parametrize(
    ("bucket", "rows"), [(1, [2, 1]), (2, [2, 1]), (8, [8, 4, 2, 1]), (12, [12, 8, 4, 2, 1])]
)
def test_every_number_of_rows_that_a_gpu_does_is_known(bucket: int, rows: list[int]) -> None:
    assert row_counts(bucket) == rows
    assert row_counts(bucket, 2) == (rows if bucket == 1 else rows[:-1])


def test_a_cpu_without_a_compiler_has_nothing_to_warm(tiny_entry: ModelEntry, entry: ModelEntry) -> None:
    assert not needs_warming(tiny_entry, "cpu")
    assert needs_warming(entry, "cpu")
    assert needs_warming(tiny_entry, "cuda:0")


@pytest.mark.long
def test_the_refiner_is_warmed_from_a_picture(entry: ModelEntry, compiled: list[int]) -> None:
    orders = orders_of(entry, [Stage.REFINE])
    warm_up(load_model(entry, [Stage.REFINE]), orders)
    assert len(compiled) > 0


def test_nothing_is_compiled_once_a_worker_is_warm(
    entry: ModelEntry, make: MakeSpec, compiled: list[int]
) -> None:
    model = load_model(entry, [Stage.BASE])
    warm_up(model, orders_of(entry, [Stage.BASE]))
    compile_nothing_more()
    known = len(compiled)
    assert known > 0
    with Rig(model) as rig:
        spec = make(num_inference_steps=2, reproducible=True)
        rig.picture(rig.submit(spec, seed=7))  # a shape that is warm
        rig.picture(rig.submit(make(num_inference_steps=2, width=72, height=88), seed=7))  # one that is not
    assert len(compiled) == known


@pytest.mark.long
def test_one_form_of_each_block_serves_all_sizes_and_numbers_of_rows(
    entry: ModelEntry, compiled: list[int]
) -> None:
    """A compiler takes seconds for each: with one for each size and rows a start would take an hour."""
    square, others = (
        entry.model_copy(update={"bucket": 8, "speed": Speed(compile="regional", warm_sizes=sizes)})
        for sizes in (((192, 192),), ((192, 224), (224, 192)))  # a CPU has another way for the smallest
    )
    model = load_model(square, [Stage.BASE])
    warm_up(model, orders_of(square, [Stage.BASE]))
    known = len(compiled)
    warm_up(model, orders_of(others, [Stage.BASE]))
    assert len(compiled) == known


@pytest.mark.long
@pytest.mark.usefixtures("compiled")
def test_what_is_given_to_the_compiler_paints_the_same_bits(
    entry: ModelEntry, tiny_entry: ModelEntry, make: MakeSpec
) -> None:
    """The ends of the transformers are our own words for what diffusers does there."""
    pictures = []
    for given in (entry, tiny_entry):
        model = load_model(given.model_copy(update={"bucket": 1}), [Stage.BASE])
        warm_up(model, orders_of(given, [Stage.BASE]))
        with Rig(model) as rig:
            pictures.append(rig.picture(rig.submit(make(num_inference_steps=2), seed=7)).pixels)
    assert torch.equal(*pictures)


@pytest.mark.long
def test_many_shapes_are_compiled_and_none_fails(entry: ModelEntry, compiled: list[int]) -> None:
    sizes = tuple((64, 64 + 8 * index) for index in range(10))
    many = entry.model_copy(
        update={"speed": Speed(compile="whole", warm_sizes=sizes), "bucket": 1, "max_size": 512}
    )
    warm_up(load_model(many, [Stage.BASE]), orders_of(many, [Stage.BASE]))
    assert len(compiled) >= 2 * len(sizes)


@pytest.mark.long
def test_warm_sizes_take_the_place_of_the_native_one(entry: ModelEntry, compiled: list[int]) -> None:
    whole = entry.model_copy(update={"speed": Speed(compile="whole"), "bucket": 1})
    warm_up(load_model(whole, [Stage.BASE]), orders_of(whole, [Stage.BASE]))
    one = len(compiled)
    speed = Speed(compile="whole", warm_sizes=((64, 72), (64, 96)))
    several = whole.model_copy(update={"speed": speed})
    torch._dynamo.reset()
    warm_up(load_model(several, [Stage.BASE]), orders_of(several, [Stage.BASE]))
    assert len(compiled) - one == 2 * one


def test_a_shape_that_goes_wrong_is_left_to_the_render_that_meets_it(
    tiny_entry: ModelEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_model(tiny_entry, [Stage.BASE])
    orders = orders_of(tiny_entry, [Stage.BASE])

    unet = model.pipelines[Stage.BASE].unet
    met: list[int] = []
    plain = unet.forward

    def fail_when_full(latents: torch.Tensor, *arguments: object, **named: object) -> object:
        met.append(len(latents))
        if len(latents) == model.bucket:
            raise torch.OutOfMemoryError("too many rows")
        return plain(latents, *arguments, **named)

    monkeypatch.setattr(unet, "forward", fail_when_full)
    warm_up(model, orders)
    assert met == row_counts(model.bucket), "fewer rows are warm all the same"
