"""Events of a job that was opened again, to make anew what was lost of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from latentfarm.client import Client
from tests.integration.serving import Puppet, serve
from tests.integration.test_events import Reader, read, until
from tests.integration.verifying import Verified, finish, own_bucket

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentfarm.repository.facade import Repository
    from latentfarm.settings import Settings
    from latentfarm.storage import S3Store

REPAIRED = ["job.running", "image.succeeded", "job.repairing", "image.succeeded", "job.succeeded"]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return own_bucket(settings)


@pytest.fixture
def url(settings: Settings) -> Iterator[str]:
    with serve(settings) as url:
        yield url


def test_a_reader_is_not_told_the_end_of_before_the_repair(
    url: str, repository: Repository, store: S3Store
) -> None:
    puppet = Puppet(repository, store)
    with Client(url) as client:
        job = client.submit({"prompt": "a"}).id
        refs = finish(puppet, puppet.claim())
        before = read(url, job)
        store.delete([refs[0].key])
        assert Verified(repository, store, [job], repair=True).counts.rendered_again == 1
        readers = [Reader(client, job)]
        until(lambda: readers[0].types == REPAIRED[:3])
        # A second one makes the hub read all rows again, the old end among them.
        readers.append(Reader(client, job))
        until(lambda: readers[1].types == REPAIRED[:3])
        finish(puppet, puppet.claim())
        for reader in readers:
            reader.join(20)
            assert reader.types == REPAIRED
    assert [event.type for event in before] == ["job.running", "image.succeeded", "job.succeeded"]
    assert [event.type for event in read(url, job)] == REPAIRED
    # Who stayed away meanwhile reads on from the end that it saw.
    assert [event.type for event in read(url, job, before[-1].id)] == REPAIRED[2:]
