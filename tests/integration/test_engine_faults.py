"""What goes wrong, goes wrong for as few as possible, and with the right name."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest
import torch

from latentfarm.errors import (
    DefectError,
    DeviceError,
    DeviceMemoryError,
    ErrorClass,
    LatentsError,
    ModelError,
    NonFiniteError,
    SpecError,
)
from latentfarm.spec import RefinerSpec
from latentfarm.states import Stage
from tests.rig import Rig
from worker.engine import engine as engine_module
from worker.engine.order import Handover, Picture
from worker.engine.prepare import prepare

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.rig import MakeSpec
    from worker.engine.model import LoadedModel
    from worker.engine.order import Order
    from worker.engine.sample import Sample


@pytest.fixture
def hook() -> Iterator[Callable[[Any, str, Callable[..., Any]], None]]:
    """Registers hooks on modules, and takes them off again: the model is shared by all tests."""
    handles = []

    def register(module: Any, kind: str, function: Callable[..., Any]) -> None:
        handles.append(getattr(module, f"register_{kind}_hook")(function))

    yield register
    for handle in handles:
        handle.remove()


def test_an_impossible_spec_fails_alone(make: MakeSpec, tiny: LoadedModel) -> None:
    impossible = make().model_copy(update={"sampler": "pndm", "num_inference_steps": 2})
    with Rig(tiny) as rig:
        good, bad, unknown, other = (
            rig.submit(make(num_inference_steps=8)),
            rig.submit(impossible),
            rig.submit(make().model_copy(update={"sampler": "nonsense"})),
            rig.submit(make().model_copy(update={"model": "elsewhere"})),
        )
        assert isinstance(rig.result(bad), SpecError)
        assert isinstance(rig.result(unknown), SpecError)
        assert isinstance(rig.result(other), ModelError)
        assert isinstance(rig.result(good), Picture)
        assert rig.engine.broken is None
        assert rig.engine.counters.errors == {"user": 2, "model": 1}


def test_a_sampler_that_fails_in_a_step_fails_alone(
    make: MakeSpec, tiny: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sabotaged(order: Order, model: LoadedModel) -> Sample:
        sample = prepare(order, model)
        if order.seed == 13:
            sample.sampler.step = None
        return sample

    monkeypatch.setattr(engine_module, "prepare", sabotaged)
    with Rig(tiny) as rig:
        good, bad = rig.submit(make(), 1), rig.submit(make(), 13)
        assert isinstance(rig.result(bad), SpecError)
        assert isinstance(rig.result(good), Picture)


@pytest.mark.parametrize("reproducible", [True, False])
def test_a_forward_that_one_sample_breaks_is_made_without_it(
    make: MakeSpec, tiny: LoadedModel, monkeypatch: pytest.MonkeyPatch, reproducible: bool
) -> None:
    spec = make(reproducible=reproducible)
    with Rig(tiny) as rig:
        expected = [picture.pixels for picture in rig.pictures([(spec, seed) for seed in (1, 2, 3)])]

    def broken(order: Order, model: LoadedModel) -> Sample:
        sample = prepare(order, model)
        if order.seed == 13:
            sample.pooled_embeds = sample.pooled_embeds[:, 1:]
        return sample

    monkeypatch.setattr(engine_module, "prepare", broken)
    with Rig(tiny) as rig:
        orders = [rig.submit(spec, seed) for seed in (1, 13, 2, 3)]
        bad = rig.result(orders.pop(1))
        assert isinstance(bad, DefectError)
        pictures = [rig.picture(order) for order in orders]
        assert rig.engine.broken is None
    if reproducible:
        assert all(torch.equal(p.pixels, e) for p, e in zip(pictures, expected, strict=True))


def test_nan_in_one_sample_does_not_touch_its_neighbours(
    make: MakeSpec, tiny: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = make(reproducible=True)
    with Rig(tiny) as rig:
        expected = [picture.pixels for picture in rig.pictures([(spec, seed) for seed in (1, 2, 3)])]

    def poisoned(order: Order, model: LoadedModel) -> Sample:
        sample = prepare(order, model)
        if order.seed == 13:
            sample.latents = torch.full_like(sample.latents, float("nan"))
        return sample

    monkeypatch.setattr(engine_module, "prepare", poisoned)
    with Rig(tiny) as rig:
        poison = rig.submit(spec, 13)
        handed_over = rig.submit(make(refiner=RefinerSpec()), 13)
        neighbours = [rig.submit(spec, seed) for seed in (1, 2, 3)]
        assert isinstance(rig.result(poison), NonFiniteError)
        assert isinstance(rig.result(handed_over), NonFiniteError)
        for order, pixels in zip(neighbours, expected, strict=True):
            assert torch.equal(rig.picture(order).pixels, pixels)


def test_pixels_that_are_not_finite_are_decoded_once_more_in_float32(
    make: MakeSpec, tiny: LoadedModel, hook: Callable[..., None]
) -> None:
    spec = make()
    with Rig(tiny) as rig:
        expected = rig.picture(rig.submit(spec)).pixels
        decoder = tiny.pipelines[Stage.BASE].vae.decoder
        hook(decoder, "forward", lambda module, _, image: image / 0 if module is decoder else None)
        assert torch.equal(rig.picture(rig.submit(spec)).pixels, expected)
        hook(decoder, "forward", lambda _module, _, image: image / 0)
        error = rig.result(rig.submit(spec))
    assert isinstance(error, NonFiniteError)
    assert error.error_class is ErrorClass.NON_FINITE


@pytest.mark.parametrize(
    "entry",
    ["version", "model", "seed", "sampler", "sampler_config", "steps", "split", "shape", "model_hash"],
)
def test_latents_of_another_render_are_refused(entry: str, make: MakeSpec, tiny: LoadedModel) -> None:
    spec = make(refiner=RefinerSpec())
    with Rig(tiny) as rig:
        order = rig.submit(spec)
        handover = rig.result(order)
        assert isinstance(handover, Handover)
        forged = Handover(handover.latents, {**handover.header, entry: "another"})
        error = rig.result(rig.submit(spec, stage=Stage.REFINE, handover=forged))
        assert isinstance(error, LatentsError)
        assert entry in str(error)


@pytest.mark.parametrize(
    "other",
    [
        {"sampler": "heun"},
        {"sigma_schedule": "karras"},
        {"timestep_spacing": "trailing"},
        {"rescale_betas_zero_snr": True},
        {"num_inference_steps": 6},
        {"refiner": RefinerSpec(high_noise_frac=0.6)},
        {"width": 72},
    ],
)
def test_latents_for_another_spec_are_refused(
    other: dict[str, Any], make: MakeSpec, tiny: LoadedModel
) -> None:
    with Rig(tiny) as rig:
        handover = rig.result(rig.submit(make(refiner=RefinerSpec())))
        asked = make(**{"refiner": RefinerSpec(), **other})
        error = rig.result(rig.submit(asked, stage=Stage.REFINE, handover=handover))
    assert isinstance(error, LatentsError)


def test_a_refine_order_without_good_latents_fails(make: MakeSpec, tiny: LoadedModel) -> None:
    spec = make(refiner=RefinerSpec())
    with Rig(tiny) as rig:
        assert isinstance(rig.result(rig.submit(spec, stage=Stage.REFINE)), LatentsError)
        handover = rig.result(rig.submit(spec))
        assert isinstance(handover, Handover)
        spoiled = dataclasses.replace(handover, latents=handover.latents * float("nan"))
        assert isinstance(rig.result(rig.submit(spec, stage=Stage.REFINE, handover=spoiled)), LatentsError)


def test_too_little_memory_halves_the_batch_and_is_remembered(
    make: MakeSpec, tiny: LoadedModel, hook: Callable[..., None]
) -> None:
    sizes: list[int] = []

    def crowded(_module: Any, inputs: tuple[torch.Tensor, ...]) -> None:
        sizes.append(inputs[0].shape[0])
        if sizes[-1] > 4:
            raise torch.OutOfMemoryError("too many rows")

    with Rig(tiny) as rig:
        hook(tiny.pipelines[Stage.BASE].unet, "forward_pre", crowded)
        assert len(rig.pictures([(make(), seed) for seed in range(8)])) == 8
        assert max(sizes[6:]) <= 4
        sizes.clear()
        rig.pictures([(make(), seed) for seed in range(8)])
        assert max(sizes) <= 4


def test_a_reproducible_render_keeps_its_bucket_or_fails(
    make: MakeSpec, tiny: LoadedModel, hook: Callable[..., None]
) -> None:
    def crowded(_module: Any, inputs: tuple[torch.Tensor, ...]) -> None:
        if inputs[0].shape[0] > 4:
            raise torch.OutOfMemoryError("too many rows")

    with Rig(tiny) as rig:
        hook(tiny.pipelines[Stage.BASE].unet, "forward_pre", crowded)
        free = [rig.submit(make(num_inference_steps=12), seed) for seed in range(3)]
        bound = [rig.submit(make(reproducible=True), seed) for seed in range(2)]
        assert all(isinstance(rig.result(order), DeviceMemoryError) for order in bound)
        assert all(isinstance(rig.result(order), Picture) for order in free)
        assert isinstance(rig.result(rig.submit(make(reproducible=True))), DeviceMemoryError)


def test_a_render_that_never_fits_fails(make: MakeSpec, tiny: LoadedModel, hook: Callable[..., None]) -> None:
    def full(_module: Any, _inputs: tuple[torch.Tensor, ...]) -> None:
        raise torch.OutOfMemoryError("none left")

    with Rig(tiny) as rig:
        hook(tiny.pipelines[Stage.BASE].unet, "forward_pre", full)
        orders = [rig.submit(make(), seed) for seed in range(3)]
        assert all(isinstance(rig.result(order), DeviceMemoryError) for order in orders)
        assert rig.engine.broken is None


def test_a_lost_device_fails_all_that_were_inside_and_ends_the_engine(
    make: MakeSpec, tiny: LoadedModel, hook: Callable[..., None]
) -> None:
    def lost(_module: Any, inputs: tuple[torch.Tensor, ...]) -> None:
        if inputs[0].shape[0] == 8:
            raise RuntimeError("CUDA error: unspecified launch failure")

    rig = Rig(tiny)
    hook(tiny.pipelines[Stage.BASE].unet, "forward_pre", lost)
    orders = [rig.submit(make(num_inference_steps=50), seed) for seed in range(30)]
    rig.engine.start()
    assert isinstance(rig.result(orders[0]), DeviceError)
    waiting = [left.order for left in rig.engine.stop()]
    assert rig.engine.broken is not None
    failed = {render_id for render_id, _ in rig.recorder.results}
    assert failed.isdisjoint(order.render_id for order in waiting)
    assert len(failed) + len(waiting) == 30
    assert waiting, "orders that had not been let in must be given back"
