"""Previews: what an image will be, seen in the middle of its steps, and nothing to the image itself."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from latentfarm.states import Lane, Stage
from tests.rig import Rig
from worker.engine.decodable import Decodable
from worker.engine.order import Order
from worker.engine.prepare import prepare
from worker.engine.preview import Glimpse

if TYPE_CHECKING:
    from tests.rig import MakeSpec
    from worker.engine.model import LoadedModel

SAMPLERS = ("euler", "euler_ancestral", "dpmpp_2m", "heun", "unipc", "lcm")


class Eye:
    """Wants every so manieth step, and remembers what it was shown."""

    def __init__(self, every: int, *, faulty: bool = False) -> None:
        self.every = every
        self.faulty = faulty
        self.asked: list[str] = []
        self.shown: list[tuple[int, int, np.ndarray]] = []
        self.threads: set[str] = set()

    def wants(self, order: Order, done: int, total: int) -> bool:
        self.asked.append(threading.current_thread().name)
        if self.faulty:
            raise RuntimeError("a viewer that is broken")
        return done % self.every == 0 and done < total

    def show(self, order: Order, done: int, total: int, pixels: torch.Tensor) -> None:
        self.threads.add(threading.current_thread().name)
        self.shown.append((done, total, np.asarray(pixels).copy()))
        raise RuntimeError("nobody is harmed by this")


def likeness(left: np.ndarray, right: np.ndarray) -> float:
    return float(np.corrcoef(left.ravel().astype(float), right.ravel().astype(float))[0, 1])


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_image_is_bit_equal_with_and_without_and_is_foreseen(
    make: MakeSpec, tiny: LoadedModel, sampler: str
) -> None:
    spec = make(num_inference_steps=16, sampler=sampler, width=128, height=128, prompt="a large red circle")
    with Rig(tiny) as rig:
        plain = rig.picture(rig.submit(spec, 7))
    eye = Eye(4)
    with Rig(tiny, viewer=eye) as rig:
        seen = rig.picture(rig.submit(spec, 7))
    assert torch.equal(plain.pixels, seen.pixels)
    assert [done for done, _, _ in eye.shown] == sorted({done for done, _, _ in eye.shown})
    assert eye.threads == {"engine_decode_all"}
    assert set(eye.asked) == {"engine_step_all"}
    assert all(pixels.shape == (128, 128, 3) for _, _, pixels in eye.shown)
    done, total, last = eye.shown[-1]
    assert done >= total // 2
    assert likeness(last, seen.pixels.numpy()) > 0.8


def test_a_large_image_is_shown_small(make: MakeSpec, tiny: LoadedModel) -> None:
    spec = make(num_inference_steps=3).model_copy(update={"width": 512, "height": 256})
    eye = Eye(2)
    with Rig(tiny, viewer=eye) as rig:
        picture = rig.picture(rig.submit(spec, 7))
    ((_, _, pixels),) = eye.shown
    assert (pixels.shape, picture.pixels.shape) == ((128, 256, 3), (256, 512, 3))


def test_a_viewer_that_is_broken_harms_no_image(make: MakeSpec, tiny: LoadedModel) -> None:
    spec = make(num_inference_steps=4)
    with Rig(tiny) as rig:
        plain = rig.picture(rig.submit(spec, 7))
    with Rig(tiny, viewer=Eye(1, faulty=True)) as rig:
        assert torch.equal(rig.picture(rig.submit(spec, 7)).pixels, plain.pixels)


def test_a_model_whose_decoder_is_compiled_or_offloaded_shows_none(make: MakeSpec, tiny: LoadedModel) -> None:
    eye = Eye(1)
    tiny.shows_previews = False
    try:
        with Rig(tiny, viewer=eye) as rig:
            rig.picture(rig.submit(make(num_inference_steps=3), 7))
    finally:
        tiny.shows_previews = True
    assert (eye.asked, eye.shown) == ([], [])


def test_previews_are_dropped_while_anything_is_to_be_decoded(make: MakeSpec, tiny: LoadedModel) -> None:
    samples = [prepare(Order(number, 1, Stage.BASE, make(), 1, Lane.BULK), tiny) for number in range(3)]
    for number, sample in enumerate(samples):
        sample.arrival = number
    glimpse = Glimpse(samples[0], 1, 1.0, samples[0].latents, samples[0].latents)
    waiting = Decodable()
    waiting.offer(glimpse)
    # There is one at a time.
    waiting.offer(glimpse)
    waiting.put(samples[1])
    waiting.offer(glimpse)
    # Samples go first, though the preview was there before them.
    assert waiting.take() == [samples[1]]
    # The decoder is at work.
    assert waiting.take() is glimpse
    waiting.offer(glimpse)
    waiting.put(samples[2])
    assert waiting.take() == [samples[2]]
    waiting.close()
    assert waiting.take() == []
