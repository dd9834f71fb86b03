"""From a form to a request: its texts are typed as the fields that they name, its files become a spec's."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from api.limits import checked
from api.openai.requests import EditRequest
from latentfarm import strict_json
from latentfarm.errors import InvalidInput
from latentfarm.explain import is_text
from latentfarm.inputs.decoding import mask_from_alpha
from latentfarm.mode_rules import scaled_size
from latentfarm.references import content
from latentfarm.spec import RenderSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from api.openai.forms import Form, Part
    from latentfarm.registry import ModelEntry

_FILES = {"image": "image", "image[]": "image", "mask": "mask"}
_NAME = re.compile(r"(\w{1,64})((?:\[\w{1,64}\])*)(\[\])?")
_PICTURE = "one PNG, JPEG or WebP file"


def request_of(form: Form) -> EditRequest:
    """The texts of a form, as the clients' JSON would be.

    `a[b]` is a field of an object, `a[]` one entry of a list. Lists of objects come as JSON.

    Raises:
        ProblemError: names each field that is wrong.
        InvalidInput: a name or a text that cannot be read, or a name that comes twice.
    """
    found: dict[str, Any] = {}
    for part in form.parts:
        if not part.file:
            _put(found, part.name, form.text(part))
    # As a body of JSON is read: what passes here can be stored.
    return checked(strict_json.loads(json.dumps(found).encode()), EditRequest)


def origin_of(form: Form, entry: ModelEntry) -> dict[str, Any]:
    """The fields of a spec that the files of a form decide.

    A mask is as large as its picture, and so decides the size too where the request does not: an edit of a
    part should leave the rest where it is.

    Args:
        entry: the model's.

    Raises:
        InvalidInput: files are missing, too many, or no pictures.
        ServiceUnavailable: too many masks are being looked at.
    """
    files: dict[str, list[Part]] = {"image": [], "mask": []}
    for part in form.parts:
        name = _FILES.get(part.name)
        if part.file != (name is not None):
            allowed = "image and mask" if part.file else "a file"
            raise InvalidInput(
                part.name[:64], "is no file of an edit" if part.file else "is no file", allowed
            )
        if name is not None:
            files[name].append(part)
    if len(files["image"]) != 1:
        raise InvalidInput("image", f"{len(files['image'])} pictures", _PICTURE)
    if len(files["mask"]) > 1:
        raise InvalidInput("mask", f"{len(files['mask'])} masks", _PICTURE)
    origin: dict[str, Any] = {"image": content(form.digest(files["image"][0]))}
    for part in files["mask"]:
        mask, shape = mask_from_alpha("mask", form.content(part))
        height, width = scaled_size((shape.height, shape.width), entry)
        origin |= {"mask_image": content(form.add(mask)), "width": width, "height": height}
    return origin


def _put(found: dict[str, Any], name: str, text: str) -> None:
    parsed = _NAME.fullmatch(name)
    if parsed is None or name in _FILES:
        problem = "is no file" if name in _FILES else "cannot be the name of a field"
        raise InvalidInput(name[:64], problem, _PICTURE if name in _FILES else "a, a[b] or a[]")
    place = [parsed[1], *re.findall(r"\w+", parsed[2])]
    if len(place) > strict_json.MAX_DEPTH:
        raise InvalidInput(name[:64], "is nested too deep", f"at most {strict_json.MAX_DEPTH} levels")
    for part in place[:-1]:
        found = found.setdefault(part, {})
        if not isinstance(found, dict):
            raise InvalidInput(name[:64], "comes twice", "each field once")
    last = place[-1]
    if parsed[3]:
        entries = found.setdefault(last, [])
        if not isinstance(entries, list):
            raise InvalidInput(name[:64], "comes twice", "each field once")
        entries.append(_typed([*place, 0], text))
    elif last in found:
        raise InvalidInput(name[:64], "comes twice", "each field once")
    else:
        found[last] = _typed(place, text)


def _typed(place: Sequence[str | int], text: str) -> Any:
    """What JSON would have at a place: a form has only texts."""
    if is_text(EditRequest, place) or is_text(RenderSpec, place):
        return text
    try:
        return strict_json.loads(text.encode())
    except InvalidInput:
        return text
