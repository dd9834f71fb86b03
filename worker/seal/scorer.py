"""The place where judges that need a model are plugged in: aesthetics, likeness to the caption, safety."""

from __future__ import annotations

import importlib
import math
from typing import TYPE_CHECKING, Protocol

from latentfarm.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Scorer(Protocol):
    """Gives an image numbers, by name."""

    def __call__(self, image: bytes, caption: str) -> Mapping[str, float]:
        """Scores of an image file; the names are the same for every image."""


def load_scorer(place: str) -> Scorer:
    """The scorer that a factory without arguments makes, which may take its time to load a model.

    It runs code, so the name is the operator's to give, in a setting, and never a user's.

    Args:
        place: `module:function`.

    Raises:
        InvalidInput: there is no such factory, or what it makes cannot be called.
    """
    module, colon, name = place.partition(":")
    if not (module and colon and name):
        raise InvalidInput("scorers", f"{place!r} names no factory", "module:function")
    try:
        factory = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise InvalidInput("scorers", f"{place}: {error}", "module:function") from error
    scorer: Scorer = factory() if callable(factory) else factory
    if not callable(factory) or not callable(scorer):
        raise InvalidInput("scorers", f"{place} makes no scorer", "a function that returns a callable")
    return scorer


def scores_of(scorers: Iterable[Scorer], image: bytes, caption: str) -> dict[str, float]:
    """All scores of an image, by name in alphabetical order.

    Raises:
        ValueError: two scorers use one name, or a score is no finite number.
    """
    found: dict[str, float] = {}
    for scorer in scorers:
        for name, value in scorer(image, caption).items():
            if name in found:
                raise ValueError(f"two scorers give {name!r}")
            if not math.isfinite(value):
                raise ValueError(f"score {name!r} is {value}")
            found[name] = float(value)
    return dict(sorted(found.items()))
