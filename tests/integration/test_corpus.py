"""The corpus of bad input against a real API process: each case gets its one answer, and costs next to nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.corpus import access, letters, paging, parameters, pictures, structures
from tests.corpus.case import Case
from tests.integration.hostile import GROWTH_BYTES, Hostile, hostile
from tests.integration.pictures import data_url

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentfarm.repository.facade import Repository


@pytest.fixture
def api(environment: dict[str, str], repository: Repository) -> Iterator[Hostile]:
    with hostile(environment, repository) as found:
        yield found


def everything(mine: str) -> list[Case]:
    found = [*parameters.cases(), *letters.cases(), *structures.cases()]
    return [*found, *access.cases(mine), *paging.cases(mine)]


def test_the_corpus_is_as_large_as_it_says() -> None:
    counts: dict[str, int] = {}
    for case in everything("x"):
        counts[case.group] = counts.get(case.group, 0) + 1
    least = {
        "parameters": 400,
        "letters": 120,
        "structures": 80,
        "keys": 100,
        "ids": 100,
        "paging": 40,
        "idempotency": 28,
    }
    assert {group: counts[group] for group in least if counts[group] < least[group]} == {}


def test_every_case_gets_its_answer_and_memory_stays(api: Hostile) -> None:
    before = api.rss()
    wrong = api.wrong(everything(api.mine))
    assert not wrong, "\n".join(f"{case} -> {told}" for case, told in wrong.items())
    assert api.rss() - before <= GROWTH_BYTES


def picture_cases(step: int) -> list[Case]:
    """Bombs and broken files as data URLs; every so many of them."""
    found = [*pictures.bombs(), *pictures.broken()]
    return [
        Case(name, 422, "invalid", "image", body={"prompt": "a", "image": data_url(data)})
        for name, data in found[::step]
    ]


@pytest.mark.parametrize("step", [10, pytest.param(1, marks=pytest.mark.long)])
def test_pictures_that_are_bombs_or_broken_are_refused_and_cost_the_api_nothing(
    api: Hostile, step: int
) -> None:
    cases = picture_cases(step)
    assert len(cases) >= 140 // step
    before = api.rss()
    assert api.wrong(cases) == {}
    assert api.rss() - before <= GROWTH_BYTES
    assert (
        api.http.get("/v1/jobs", headers={"Authorization": f"Bearer {api.keys['admin']}"}).status_code == 200
    )
