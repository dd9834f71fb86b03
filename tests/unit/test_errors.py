"""The exception tree: one place, one class for each kind of failure, and the drawing is right."""

from __future__ import annotations

import re

import pytest

from latentfarm import errors
from latentfarm.errors import ErrorClass, InvalidInput, LatentfarmError, RenderError


def _below(cls: type[LatentfarmError]) -> list[type[LatentfarmError]]:
    return [found for child in cls.__subclasses__() for found in (child, *_below(child))]


OURS = [cls for cls in _below(LatentfarmError) if cls.__module__ == errors.__name__]


def test_the_tree_at_the_top_of_the_module_shows_every_class_under_its_parent() -> None:
    drawn: list[tuple[str, str]] = []
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"((?:│   |    )*)(?:[├└]── )?([A-Z]\w+)(?: {2,}|$)", line)
        if found:
            depth = len(found.group(1)) // 4 + ("──" in line)
            path = [*path[:depth], found.group(2)]
            drawn.append((path[-1], path[-2] if depth else "Exception"))
    real = [(cls.__name__, cls.__bases__[0].__name__) for cls in OURS]
    assert sorted(drawn) == sorted([("LatentfarmError", "Exception"), *real])


def test_each_class_says_when_it_is_raised() -> None:
    assert [cls.__name__ for cls in OURS if not cls.__doc__] == []


def test_each_class_says_whether_trying_again_helps() -> None:
    assert {cls.__name__ for cls in OURS if cls.retryable} == {
        "Conflict",
        "TooMuchQueued",
        "OverQuota",
        "ServiceUnavailable",
        "RenderError",
        "TransientError",
        "DeviceMemoryError",
        "DeviceError",
        "NonFiniteError",
        "LatentsError",
        "ModelError",
        "DefectError",
    }


def test_render_errors_have_a_class_each() -> None:
    classes = [cls.error_class for cls in _below(RenderError) if issubclass(cls, RenderError)]
    assert len(classes) == len(set(classes))
    # A death is told by no exception: there is nobody left to raise it.
    assert set(ErrorClass) - set(classes) == {ErrorClass.POISON}


@pytest.mark.parametrize("allowed", ["", "1 to 200"])
def test_invalid_input_names_the_field_and_what_is_allowed(allowed: str) -> None:
    error = InvalidInput("refiner.high_noise_frac", "too high", allowed)
    assert str(error).startswith("refiner.high_noise_frac: too high")
    assert ("1 to 200" in str(error)) == bool(allowed)
