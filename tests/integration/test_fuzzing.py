"""Everything that the OpenAPI document allows, and much that it forbids: no 5xx, no status or shape that it does not tell."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from latentfarm.api_keys import Scope
from latentfarm.inputs.fetching import Fetcher
from latentfarm.key_ring import KeyRing
from tests.integration.ender import ending
from tests.integration.fuzzing import PHASES, Findings, fuzz
from tests.integration.serving import serve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from latentfarm.repository.facade import Repository
    from latentfarm.settings import Settings
    from latentfarm.storage import S3Store


@pytest.fixture
def asked(
    settings: Settings, repository: Repository, store: S3Store, tmp_path: Path
) -> Iterator[Callable[..., Findings]]:
    """Fuzzes an API whose jobs end, and whose URLs lead nowhere."""
    key = KeyRing(repository).create(tenant="fuzz", name="fuzz", scopes=[Scope.ADMIN])[1]
    changed = settings.model_copy(update={"require_keys": True, "openai_wait_s": 20.0})
    nowhere = Fetcher(resolver=lambda _host, _port: [])
    with serve(changed, nowhere) as url, ending(repository, store):
        yield partial(fuzz, url, key, tmp_path)


def assert_sound(found: Findings) -> None:
    if found.failures:
        pytest.fail(found.failures, pytrace=False)
    assert set(found.phases) >= PHASES
    assert {found.phases[name] for name in PHASES} == {"success"}
    tested, total = found.operations
    assert tested == total
    failed = {
        operation: [status for status in counts if status >= 500]
        for operation, counts in found.statuses.items()
        if any(status >= 500 for status in counts)
    }
    assert failed == {}
    # Its key works to the end, and jobs are really accepted, listed and shown: else all this asks little.
    assert found.statuses["POST /v1/jobs"][202]
    assert found.statuses["GET /v1/jobs/{job_id}"][200]


def test_a_thousand_requests_find_nothing(asked: Callable[..., Findings]) -> None:
    found = asked(examples=2, limit_s=600.0, whole=False)
    assert found.requests >= 1_000
    assert_sound(found)


@pytest.mark.long
def test_twenty_thousand_requests_find_nothing(asked: Callable[..., Findings]) -> None:
    found = asked(examples=240, limit_s=7_200.0)
    assert found.requests >= 20_000
    assert_sound(found)
