"""An engine without a model: seeded arithmetic in the real child, for tests that are not about pictures.

Same claims, hand-over, uploads and commits as with the real one. What it does with a prompt:

    sleep MS      each step takes so many milliseconds (default 1)
    die           the process kills itself at the second step
    hang          the render loop stops for ever
    deaf          the child's Celery stops reading for ever, and all else goes on
    nan           ends in NonFiniteError
"""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from typing import TYPE_CHECKING

import kombu.asynchronous
import torch

from latentfarm.errors import NonFiniteError
from latentfarm.states import Lane, Stage
from worker.assembly import Assembled
from worker.engine.order import Counters, Handover, Listener, Order, Picture

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latentfarm.registry import ModelEntry


def load(
    entries: Sequence[ModelEntry], stages: Sequence[Stage], *, device: str, threads: int, listener: Listener
) -> Assembled:
    """What the setting `engine` names."""
    return Assembled(SyntheticEngine(listener), {"device_name": "synthetic"})


class SyntheticEngine:
    """Steps every order that it has, all in one thread."""

    def __init__(self, listener: Listener) -> None:
        self.counters = Counters()
        self.broken: BaseException | None = None
        self._listener = listener
        self._orders: dict[int, tuple[Order, int]] = {}
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def submit(self, order: Order) -> None:
        with self._changed:
            self._orders[order.render_id] = (order, 0)
            self._changed.notify()

    def drop(self, render_id: int) -> None:
        with self._changed:
            self._orders.pop(render_id, None)

    def in_flight(self, lane: Lane | None = None) -> int:
        with self._changed:
            return sum(lane in (None, order.lane) for order, _ in self._orders.values())

    def stop(self) -> list[Order]:
        self._stopping = True
        self._thread.join()
        return [order for order, _ in self._orders.values()]

    def _run(self) -> None:
        while not self._stopping:
            self.counters.beat += 1
            with self._changed:
                if not self._orders:
                    self._changed.wait(0.05)
                orders = list(self._orders.values())
            if orders:
                self._turn(orders)

    def _turn(self, orders: list[tuple[Order, int]]) -> None:
        started = time.perf_counter()
        time.sleep(max(_sleep_s(order) for order, _ in orders))
        self.counters.forwards += 1
        self.counters.rows += len(orders)
        self.counters.bucket_rows += len(orders)
        for order, done in orders:
            self._step(order, done + 1)
        self.counters.busy_s += time.perf_counter() - started

    def _step(self, order: Order, done: int) -> None:
        with self._changed:
            if order.render_id not in self._orders:
                return
            self._orders[order.render_id] = (order, done)
        if done == 2:
            _misbehave(order.spec.prompt)
        total = order.spec.num_inference_steps
        self._listener.stepped(order, done, total)
        self.counters.steps += 1
        if done >= total:
            self._end(order)

    def _end(self, order: Order) -> None:
        with self._changed:
            self._orders.pop(order.render_id, None)
        if "nan" in order.spec.prompt:
            self._listener.failed(order, NonFiniteError("not a number"))
        elif order.stage is Stage.BASE and order.spec.refiner is not None:
            latents = torch.full((1, 4, 8, 8), float(order.seed % 1000))
            self._listener.finished(order, Handover(latents, {"synthetic": "1"}))
        else:
            base = order.handover.latents if order.handover else torch.zeros(1)
            value = (order.seed + int(base.flatten()[0])) % 251
            pixels = torch.full((8, 8, 3), value, dtype=torch.uint8)
            self._listener.finished(order, Picture(pixels, {"device": "synthetic"}))


def _sleep_s(order: Order) -> float:
    found = re.search(r"sleep (\d+)", order.spec.prompt)
    return (int(found.group(1)) if found else 1) / 1000


def _misbehave(prompt: str) -> None:
    if "die" in prompt:
        os.kill(os.getpid(), signal.SIGKILL)
    if "hang" in prompt:
        time.sleep(10_000)
    if "deaf" in prompt:
        # What sends each BRPOP is called from here, so the loop turns on and asks for nothing more.
        loop = kombu.asynchronous.get_event_loop()
        assert loop is not None
        loop.on_tick.clear()
