"""What the dimensions drew -> a spec as a user would send it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.equality.pictures import mask_url, picture_url

if TYPE_CHECKING:
    from collections.abc import Iterable

    from benchmarks.equality.dimension import Fields

_OF_PICTURES = ("strength", "padding_mask_crop")
_SIZE = (64, 64)


def assembled(drawn: Iterable[Fields]) -> Fields:
    """The fields of a spec.

    Args:
        drawn: of each dimension. `refiner.x` is a field of `refiner`; `picture.x` and `mask.x` say how the
            pictures are drawn; `token.x` is written in front of the text x. What a dimension says of a
            refiner or of pictures that another has left out is left out too.
    """
    spec: Fields = {}
    parts: dict[str, Fields] = {"refiner": {}, "picture": {}, "mask": {}, "token": {}}
    for fields in drawn:
        for name, value in fields.items():
            outer, _, inner = name.partition(".")
            (parts[outer] if inner else spec)[inner or name] = value
    if "mode" in parts["refiner"]:
        spec["refiner"] = parts["refiner"]
    if "seed" in parts["picture"]:
        spec |= _drawn(parts["picture"], parts["mask"])
    else:
        spec = {name: value for name, value in spec.items() if name not in _OF_PICTURES}
    for name, tokens in parts["token"].items():
        spec[name] = f"{tokens} {spec.get(name, '')}".strip()
    return spec


def _drawn(picture: Fields, mask: dict[str, Any]) -> Fields:
    size = picture.get("size", _SIZE)
    found = {"image": picture_url(picture["seed"], size, picture.get("form", "png"))}
    if "seed" in mask:
        found["mask_image"] = mask_url(mask["seed"], size, mask.get("kind", "rectangle"))
    return found
