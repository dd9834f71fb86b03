"""JSON from strangers: read in one way only, or refused.

Python's reader takes NaN, the last of two equal keys, and lone surrogates. PostgreSQL takes none of
these and no NUL, so what passes here can be stored.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import TYPE_CHECKING, Any

from latentfarm.errors import InvalidInput, MalformedJson

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MAX_DEPTH = 32
MAX_KEYS = 10_000
"""Of one object. What complains of each of a hundred thousand unknown ones takes forty times their memory."""
_EXACT = 2**53
_MOST_SHOWN = 200
"""Characters of a place that are told."""


def loads(data: bytes) -> Any:
    """Reads one JSON document.

    Whole numbers may be written as `50.0`, as JSON Schema allows.

    Raises:
        MalformedJson: not UTF-8, not JSON, NaN, infinity, a key twice, deeper than `MAX_DEPTH`, or an object of
            more than `MAX_KEYS` keys.
        InvalidInput: a string holds a NUL or half a surrogate pair; names its place.
    """
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_object,
            parse_constant=_constant,
            parse_float=_number,
        )
    except UnicodeDecodeError as error:
        raise MalformedJson("body", f"not UTF-8 at byte {error.start}", "JSON in UTF-8") from error
    except RecursionError as error:
        raise _too_deep() from error
    except ValueError as error:
        # Also an integer of more than 4,300 digits.
        raise MalformedJson("body", f"not JSON: {error}", "one JSON document") from error
    _check_strings(value)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > MAX_KEYS:
        raise MalformedJson("body", f"an object of {len(pairs)} keys", f"at most {MAX_KEYS} keys")
    found = dict(pairs)
    if len(found) != len(pairs):
        twice, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise MalformedJson(_shown(twice), "this key comes twice", "each key once")
    return found


def _constant(name: str) -> float:
    raise MalformedJson("body", f"{name} is not JSON", "finite numbers")


def _number(text: str) -> float | int:
    value = float(text)
    if not math.isfinite(value):
        raise MalformedJson("body", f"{text[:40]} is too large", "finite numbers")
    return int(value) if value.is_integer() and abs(value) < _EXACT else value


_END = (None, None)


def _check_strings(document: Any) -> None:
    """Walks without recursion: what is nested too deeply must not end the process that says so.

    An iterator for each level, and places put into words only where something is wrong: a list of half a million numbers
    under a key of half a megabyte is no larger to walk than to read.
    """
    levels: list[Iterator[tuple[str | int, Any]]] = [iter((("", document),))]
    place: list[str | int] = []
    while levels:
        part, value = next(levels[-1], _END)
        if part is None:
            levels.pop()
            del place[-1:]
        elif isinstance(value, str):
            _check_string([*place, part], value)
        elif isinstance(value, dict | list):
            if len(levels) > MAX_DEPTH:
                raise _too_deep()
            place.append(part)
            if isinstance(value, dict):
                for key in value:
                    _check_string(place, key)
            levels.append(iter(value.items()) if isinstance(value, dict) else enumerate(value))


def _check_string(place: Sequence[str | int], text: str) -> None:
    if "\x00" in text:
        raise InvalidInput(_named(place), "holds a NUL character", "text without U+0000")
    if not text.isascii() and any("\ud800" <= char <= "\udfff" for char in text):
        raise InvalidInput(_named(place), "holds half a surrogate pair", "valid Unicode")


def _named(place: Sequence[str | int]) -> str:
    """Where that is; the document itself has no name."""
    return _shown(".".join(str(part)[:_MOST_SHOWN] for part in place[1:])) or "body"


def _too_deep() -> MalformedJson:
    return MalformedJson("body", f"nested deeper than {MAX_DEPTH} levels", f"at most {MAX_DEPTH} levels")


def _shown(path: str) -> str:
    """A path made of a stranger's keys, safe to print."""
    return path[:_MOST_SHOWN].encode("ascii", "backslashreplace").decode().replace("\x00", "\\x00")
