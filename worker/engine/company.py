"""Prompts of orders that wait together are read together: an encoder takes several in little more time than one."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from worker.engine.faults import is_device
from worker.engine.prompts import plain, positive_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.engine.model import LoadedModel
    from worker.engine.order import Order

_log = logging.getLogger(__name__)

TOGETHER = 8
"""Prompts that are read in one call; whoever comes first waits for as many."""


def read_together(model: LoadedModel, orders: Sequence[Order]) -> None:
    """Remembers the prompts of several orders, if that of the first is not known.

    Negative prompts are few, and known. A model with a bucket of one does as stock diffusers does, which reads one prompt
    at a time. What goes wrong here goes wrong again for the order whose fault it is.

    Args:
        orders: of one stage of the model; the first is about to be prepared.

    Raises:
        Exception: the device cannot be trusted any more.
    """
    readable = [order for order in orders if order.has_company]
    if model.bucket == 1 or len(readable) < 2 or readable[0] is not orders[0]:
        return
    try:
        with model.encoding:
            _read(model, readable)
    except Exception as error:
        if is_device(error):
            raise
        # Without its words, which may be a prompt's.
        _log.warning("%d prompts are read one by one: %s", len(readable), type(error).__name__)


def _read(model: LoadedModel, orders: Sequence[Order]) -> None:
    first = orders[0].spec
    pipe = model.pipeline(orders[0].stage)
    texts = {}
    for spec in (order.spec for order in orders):
        key = positive_key(pipe, spec, ())
        if spec.clip_skip == first.clip_skip and not model.prompts.knows(key):
            texts[key] = (spec.prompt, spec.prompt_2 or spec.prompt)
    if len(texts) < 2 or positive_key(pipe, first, ()) not in texts:
        return
    embeds, pooled = plain(pipe, model, first, (), list(texts.values()), first.clip_skip)
    for number, key in enumerate(texts):
        # Copies: a slice would keep all of them in memory, and count as one.
        model.prompts.put(key, (embeds[number : number + 1].clone(), pooled[number : number + 1].clone()))
