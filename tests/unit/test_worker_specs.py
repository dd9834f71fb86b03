"""Specs of claimed renders: read once, and never one for another."""

from __future__ import annotations

from uuid import UUID

import pytest
from pydantic import ValidationError

from latentfarm.records import Claimed
from latentfarm.spec import RenderSpec
from latentfarm.states import Lane, Stage
from worker.specs import KEPT, Specs


def claimed(spec_id: int, prompt: str) -> Claimed:
    picture = RenderSpec(model="tiny", prompt=prompt).picture()
    return Claimed(1, 1, UUID(int=1), 0, Stage.BASE, Lane.BULK, picture, 7, "k", alone=False, spec_id=spec_id)


def test_a_spec_is_read_once() -> None:
    specs = Specs()
    first = specs.of(claimed(1, "a fox"))
    assert first.prompt == "a fox"
    assert specs.of(claimed(1, "a fox")) is first


def test_each_render_has_its_own_spec_however_many_there_are() -> None:
    specs = Specs()
    for spec_id in [*range(2 * KEPT + 3), *range(5)]:
        assert specs.of(claimed(spec_id, f"fox {spec_id}")).prompt == f"fox {spec_id}"


def test_what_cannot_be_read_is_refused_each_time() -> None:
    specs, bad = Specs(), claimed(1, "a fox")
    bad.picture["width"] = "wide"
    for _ in range(2):
        with pytest.raises(ValidationError):
            specs.of(bad)
