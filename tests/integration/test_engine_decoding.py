"""Small images go through the VAE together, and none is the worse for it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from latentfarm.errors import NonFiniteError
from latentfarm.spec import RefinerSpec
from latentfarm.states import Lane, Stage
from tests.rig import Rig, largest_difference, with_bucket
from worker.engine import engine as engine_module
from worker.engine.decodable import PIXELS, Decodable
from worker.engine.decode import decode_together
from worker.engine.order import Order, Picture
from worker.engine.prepare import prepare

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from tests.rig import MakeSpec
    from worker.engine.model import LoadedModel
    from worker.engine.preview import Glimpse
    from worker.engine.sample import Sample

SEEDS = range(4)


class Gathering:
    """Lets the decoder see all that will come before it takes the first: else it depends on threads what waits."""

    def __init__(self) -> None:
        self.until_s = 60.0
        self.begun: list[Decodable] = []  # held: another's id may be that of one that is gone
        self.take = Decodable.take

    def patiently(self, waiting: Decodable) -> list[Sample] | Glimpse:
        until = time.monotonic() + self.until_s
        if not any(waiting is known for known in self.begun):
            self.begun.append(waiting)
            while waiting._waiting.qsize() < len(SEEDS) and time.monotonic() < until:
                time.sleep(0.01)
        return self.take(waiting)


class Passes:
    """Counts the images of each pass in which there were several."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def __call__(self, samples: Sequence[Sample]) -> list[torch.Tensor]:
        self.sizes.append(len(samples))
        return decode_together(samples)


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> Passes:
    counted = Passes()
    monkeypatch.setattr(engine_module, "decode_together", counted)
    return counted


@pytest.fixture
def gathering(monkeypatch: pytest.MonkeyPatch) -> Gathering:
    made = Gathering()

    def take(self: Decodable) -> list[Sample] | Glimpse:
        return made.patiently(self)

    monkeypatch.setattr(Decodable, "take", take)
    return made


def _sample(
    make: MakeSpec, model: LoadedModel, seed: int = 0, lane: Lane = Lane.BULK, **fields: object
) -> Sample:
    sample = prepare(Order(seed + 1, 1, Stage.BASE, make(**fields), seed, lane), model)
    sample.arrival = seed
    return sample


def _taken(*samples: Sample) -> list[list[int]]:
    """Arrivals, by pass."""
    waiting = Decodable()
    for sample in samples:
        waiting.put(sample)
    waiting.close()
    found = []
    while passed := waiting.take():
        assert isinstance(passed, list)
        found.append([sample.arrival for sample in passed])
    return found


def test_images_of_one_pass_are_those_that_each_gives_alone(
    make: MakeSpec, tiny: LoadedModel, passes: Passes, gathering: Gathering
) -> None:
    specs = [(make(num_inference_steps=3), seed) for seed in SEEDS]
    with Rig(tiny) as rig:
        together = rig.pictures(specs)
    assert passes.sizes == [len(SEEDS)]
    gathering.until_s = 0.0
    with Rig(with_bucket(tiny, 1)) as rig:
        alone = rig.pictures(specs)
    assert passes.sizes == [len(SEEDS)], "a bucket of one decodes one image at a time"
    for left, right in zip(together, alone, strict=True):
        assert left.pixels.shape == right.pixels.shape
        assert largest_difference(left.pixels, right.pixels) <= 1


@pytest.mark.usefixtures("gathering")
def test_an_image_that_is_not_finite_fails_alone(
    make: MakeSpec, tiny: LoadedModel, passes: Passes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def poisoned(samples: Sequence[Sample]) -> list[torch.Tensor]:
        for sample in samples:
            if sample.order.seed == 2:
                sample.latents.fill_(float("nan"))
        return passes(samples)

    monkeypatch.setattr(engine_module, "decode_together", poisoned)
    with Rig(tiny) as rig:
        results = [rig.result(order) for order in [rig.submit(make(), seed) for seed in SEEDS]]
    assert passes.sizes == [len(SEEDS)]
    assert [type(result) for result in results] == [Picture, Picture, NonFiniteError, Picture]


@pytest.mark.usefixtures("gathering")
def test_a_pass_that_fails_is_made_one_by_one(
    make: MakeSpec, tiny: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: Sequence[Sample]) -> list[torch.Tensor]:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(engine_module, "decode_together", fails)
    with Rig(tiny) as rig:
        assert len(rig.pictures([(make(), seed) for seed in SEEDS])) == len(SEEDS)


def test_what_must_not_or_cannot_share_a_pass_has_its_own(make: MakeSpec, tiny: LoadedModel) -> None:
    plain = [_sample(make, tiny, seed) for seed in (0, 3)]
    others = [
        _sample(make, tiny, 1, reproducible=True),
        _sample(make, tiny, 2, reproducible=True),
        _sample(make, tiny, 4, width=192),
        _sample(make, tiny, 5, refiner=RefinerSpec()),
        _sample(make, tiny, 6, refiner=RefinerSpec()),
        _sample(make, with_bucket(tiny, 1), 7),
    ]
    assert _taken(*plain, *others) == [[0, 3], [1], [2], [4], [5], [6], [7]]


def test_interactive_images_come_first_and_take_others_along(make: MakeSpec, tiny: LoadedModel) -> None:
    bulk = [_sample(make, tiny, seed) for seed in (0, 1)]
    urgent = _sample(make, tiny, 2, lane=Lane.INTERACTIVE)
    assert _taken(*bulk, urgent) == [[2, 0, 1]]


def test_a_pass_has_the_pixels_of_one_large_image(make: MakeSpec, tiny: LoadedModel) -> None:
    sample = _sample(make, tiny)
    sample.latents = sample.latents.new_zeros(1, 4, 64, 64)
    sample.key = sample.key._replace(latents=(4, 64, 64))
    waiting = Decodable()
    for _ in range(5):
        waiting.put(sample)
    assert PIXELS // (512 * 512) == 4
    waiting.close()
    passes = iter(waiting.take, [])
    assert [len(taken) for taken in passes if isinstance(taken, list)] == [4, 1]
