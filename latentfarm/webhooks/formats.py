"""The words in which receivers are told: one pure function per format, from an event to a type and a body."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from latentfarm.webhooks import native, openai, replicate

if TYPE_CHECKING:
    from collections.abc import Callable

    from latentfarm.webhooks.told import Told


@dataclass(frozen=True, slots=True)
class Format:
    """One way to tell of an event.

    Attributes:
        render: gives type and JSON body, the same for the same event but for links, which are made for each try;
            None: it has no words for this one, and nothing is sent. Called when the event happens, for the type, and
            for each try.
        wants_picture: whether `Told.picture` and what follows it are filled in when it is sent.
        wants_batch: whether a dataset that is a batch, and was taken back, is told with `batch` among its facts:
            `expired` or `cancelled`. Batches that end before they are datasets are told of in these formats alone.
    """

    render: Callable[[Told], tuple[str, dict[str, Any]] | None]
    wants_picture: bool = False
    wants_batch: bool = False


FORMATS = {
    "native": Format(native.render),
    "openai": Format(openai.render, wants_batch=True),
    "replicate": Format(replicate.render, wants_picture=True),
}
