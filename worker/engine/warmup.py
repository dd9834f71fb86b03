"""The first forward of each shape, before a worker says that it is ready.

A compiler takes a minute for a shape, and a GPU looks for its kernels. Whoever came first would wait for it, and
the parent would take it for a stall. What is compiled is settled here, for all of a worker's life: later shapes run as
they are. Then a picture does not depend on what the worker happened to meet before, and nothing stops for a compiler.
"""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import torch

from worker.engine.decode import finish
from worker.engine.faults import is_device
from worker.engine.forward import forward
from worker.engine.group import Group
from worker.engine.prepare import prepare

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from worker.engine.model import LoadedModel
    from worker.engine.order import Order
    from worker.engine.sample import Sample

_log = logging.getLogger(__name__)
T = TypeVar("T")


def warm_up(model: LoadedModel, orders: Iterable[Order], *, record: bool = False) -> None:
    """Runs each order in every number of rows that a forward may have, and the VAE; the largest come first.

    Args:
        record: keep a CUDA graph of each forward.

    Whatever goes wrong with a shape, such as too little memory, is left to the render that meets it: it is told of
    there, and the others go on.

    Raises:
        Exception: the device cannot be trusted any more.
    """
    started = time.perf_counter()
    model.graphs.recording = record
    try:
        with torch.inference_mode():  # as in the engine: what is compiled under other rules is not used there
            for order in sorted(orders, key=_pixels, reverse=True):
                _run(order, model)
    finally:
        model.graphs.recording = False
    _log.info("%s is warm after %.1f s", model.name, time.perf_counter() - started)


def compile_nothing_more() -> None:
    """From now on a shape that was not compiled runs as it is, in all threads of this process."""
    torch.compiler.set_stance("eager_on_recompile")


def _pixels(order: Order) -> int:
    # Graphs share memory: a smaller one finds room in what a larger one had, and not the other way round.
    return int(order.spec.height or 0) * int(order.spec.width or 0)


def _run(order: Order, model: LoadedModel) -> None:
    sample = _tried(order, model, "its start", lambda: prepare(order, model))
    if sample is None:
        return
    for rows in row_counts(model.bucket, model.least_rows):
        _tried(order, model, f"a forward of {rows} rows", partial(_forward, sample, rows))
    _tried(order, model, "its decode", lambda: finish(sample))


def _tried(order: Order, model: LoadedModel, what: str, work: Callable[[], T]) -> T | None:
    """With too little memory for many rows the engine goes on with fewer: these must be warm all the same."""
    try:
        return work()
    except Exception as error:
        if is_device(error):
            raise
        size = f"{order.spec.height} x {order.spec.width}"
        _log.warning("%s, %s, %s: %s is not warm: %s", model.name, order.stage.label, size, what, error)
        return None


def _forward(sample: Sample, rows: int) -> None:
    """One forward of a guided sample, or of one without guidance where there is no room for two rows."""
    place = (0, 1) if rows > 1 else (0,)
    for part in ("prompt_embeds", "pooled_embeds", "time_ids"):
        tensor = getattr(sample, part)
        setattr(sample, part, tensor[-1:].expand(len(place), *tensor.shape[1:]).contiguous())
    forward(Group([sample], sample.model.bucket, 1, [place]), rows)


def row_counts(bucket: int, least: int = 1) -> list[int]:
    """Rows of all forwards that a GPU does with this bucket; see `forward.shape_of`.

    The most come first: a compiler that leaves rows open tunes for the first that it sees.
    """
    if bucket == 1:
        return [2, 1]
    powers = {1 << power for power in range(bucket.bit_length())}
    return sorted({rows for rows in powers if rows >= least} | {bucket}, reverse=True)
