"""Pictures on their way in: uploaded, fetched or sent along, and stored once."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from typing import TYPE_CHECKING

import httpx
import pytest
from sqlalchemy import text

from latentfarm.errors import InvalidInput, ServiceUnavailable, TransientError
from latentfarm.ids import new_id
from latentfarm.inputs import resolving
from latentfarm.inputs.resolving import Resolver
from latentfarm.keys import upload_key
from latentfarm.records import Shape
from latentfarm.references import MAX_INPUT_BYTES
from latentfarm.storage import S3Store
from tests.drawing import picture
from tests.integration.https_server import HttpsServer, fetcher
from tests.integration.pictures import BLUE, RED, add_job, count, data_url, spec, stored, take, there, upload
from tests.integration.serving import Puppet

if TYPE_CHECKING:
    from latentfarm.inputs.offering import Uploads
    from latentfarm.repository.facade import Repository
    from latentfarm.settings import Settings
    from latentfarm.spec import RenderSpec


def test_every_way_in_leads_to_the_same_content(
    resolver: Resolver, uploads: Uploads, https_server: HttpsServer, repository: Repository, store: S3Store
) -> None:
    ways = [upload(uploads, RED), data_url(RED), https_server.put("/red.png", RED)]
    assert {take(resolver, image=way).image for way in ways} == {stored(RED)}
    assert count(repository, "inputs") == 1
    assert there(store, RED)
    row = repository.transact(lambda c: c.execute(text("SELECT * FROM inputs")).one())
    assert (row.size, row.width, row.height, row.format) == (len(RED), 64, 48, "png")


def test_shapes_are_told_before_anything_is_stored(resolver: Resolver, repository: Repository) -> None:
    seen: dict[str, Shape] = {}

    def refuse(_: RenderSpec, shapes: dict[str, Shape]) -> RenderSpec:
        seen.update(shapes)
        raise InvalidInput("mask_image", "does not fit")

    given = spec(image=data_url(RED), mask_image=data_url(picture(8, 16)))
    with pytest.raises(InvalidInput, match="does not fit"):
        resolver.resolve(given, tenant="", fit=refuse)
    assert seen == {"image": Shape("png", 64, 48), "mask_image": Shape("png", 8, 16)}
    assert count(repository, "inputs") == 0


def test_a_bad_mask_stores_no_image(resolver: Resolver, repository: Repository) -> None:
    with pytest.raises(InvalidInput, match=r"^mask_image"):
        take(resolver, image=data_url(RED), mask_image=data_url(b"no picture"))
    assert count(repository, "inputs") == 0


def test_a_digest_is_taken_again_by_those_who_used_it(resolver: Resolver, repository: Repository) -> None:
    given = take(resolver, image=data_url(RED), tenant="me")
    with pytest.raises(InvalidInput, match="no picture with this digest"):
        take(resolver, image=stored(RED), tenant="me")
    add_job(repository, given, "me")
    assert take(resolver, image=stored(RED), tenant="me").image == stored(RED)
    with pytest.raises(InvalidInput, match="no picture with this digest"):
        take(resolver, image=stored(RED), tenant="somebody")
    with pytest.raises(InvalidInput, match="no picture with this digest"):
        take(resolver, image=stored(BLUE), tenant="me")


def test_an_upload_stays_what_it_was_when_it_was_used(resolver: Resolver, uploads: Uploads) -> None:
    ticket, link = uploads.offer(len(RED), tenant="")
    other = RED[:-1] + b"\0"
    httpx.put(link, content=RED)
    assert take(resolver, image=str(ticket.id)).image == stored(RED)
    assert httpx.put(link, content=other).status_code == 200
    assert take(resolver, image=str(ticket.id)).image == stored(RED)


def test_an_upload_belongs_to_its_tenant(resolver: Resolver, uploads: Uploads) -> None:
    mine = upload(uploads, RED, tenant="me")
    with pytest.raises(InvalidInput, match="there is no upload"):
        take(resolver, image=mine, tenant="somebody")
    assert take(resolver, image=mine, tenant="me").image == stored(RED)


def test_uploads_that_are_not_there_are_refused(
    resolver: Resolver, uploads: Uploads, repository: Repository
) -> None:
    with pytest.raises(InvalidInput, match="there is no upload"):
        take(resolver, image=str(new_id()))
    ticket, _ = uploads.offer(5, tenant="")
    with pytest.raises(InvalidInput, match="nothing was put"):
        take(resolver, image=str(ticket.id))
    late = upload(uploads, RED)
    repository.transact(lambda c: c.execute(text("UPDATE uploads SET expires_at = now()")))
    with pytest.raises(InvalidInput, match="expired"):
        take(resolver, image=late)


def test_a_link_takes_the_bytes_that_were_announced_and_no_others(uploads: Uploads, store: S3Store) -> None:
    ticket, link = uploads.offer(5, tenant="")
    for wrong in (b"", b"1234", b"123456", b"1" * 100_000):
        assert httpx.put(link, content=wrong).status_code == 403
    assert httpx.put(link, content=iter([b"123456"])).status_code == 403
    assert store.read(upload_key(ticket.id), most=10) is None
    assert httpx.put(link, content=b"12345").status_code == 200
    assert httpx.put(link.replace(str(ticket.id), str(new_id())), content=b"12345").status_code == 403


@pytest.mark.parametrize("size", [0, -1, MAX_INPUT_BYTES + 1])
def test_a_link_for_too_many_bytes_is_not_given(uploads: Uploads, size: int) -> None:
    with pytest.raises(InvalidInput, match="size"):
        uploads.offer(size, tenant="")


def test_what_is_too_large_in_the_bucket_is_not_read(
    resolver: Resolver, uploads: Uploads, store: S3Store
) -> None:
    """Should a store not check the length that was signed."""
    ticket, _ = uploads.offer(5, tenant="")
    store.put(upload_key(ticket.id), bytes(MAX_INPUT_BYTES + 1), "image/png")
    with pytest.raises(InvalidInput, match=r"^image: too large"):
        take(resolver, image=str(ticket.id))


def test_racing_specs_store_a_picture_once(resolver: Resolver, repository: Repository) -> None:
    taken: list[str | None] = []
    threads = [
        threading.Thread(target=lambda: taken.append(take(resolver, image=data_url(BLUE)).image))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert taken == [stored(BLUE)] * 6
    assert count(repository, "inputs") == 1


def test_a_store_that_is_away_leaves_a_planned_row_and_the_next_one_finishes(
    repository: Repository, settings: Settings, https_server: HttpsServer, resolver: Resolver
) -> None:
    away = S3Store.from_settings(settings.model_copy(update={"s3_endpoint_url": "http://127.0.0.1:1"}))
    with pytest.raises(TransientError):
        take(Resolver(repository, away, fetcher(https_server)), image=data_url(RED))
    planned = "inputs WHERE stored_at IS NULL"
    assert count(repository, planned) == 1
    with pytest.raises(InvalidInput, match="no longer kept"):
        add_job(repository, spec(image=stored(RED)))
    assert take(resolver, image=data_url(RED)).image == stored(RED)
    assert count(repository, planned) == 0


def test_too_many_at_once_are_told_to_come_again_and_a_tenant_has_half_of_the_turns(
    resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolver._turns, "_patience_s", 0.05)
    half = resolving.AT_ONCE // 2
    with contextlib.ExitStack() as held:
        for _ in range(half):
            held.enter_context(resolver._turns.turn("greedy"))
        with pytest.raises(ServiceUnavailable), resolver._turns.turn("greedy"):
            pass
        assert take(resolver, image=data_url(RED)).image == stored(RED)
        for _ in range(half):
            held.enter_context(resolver._turns.turn("other"))
        with pytest.raises(ServiceUnavailable):
            take(resolver, image=data_url(RED))
    assert take(resolver, image=data_url(BLUE)).image == stored(BLUE)
    assert resolver._turns._taken == {}


def test_slow_servers_get_one_deadline_together(
    resolver: Resolver, https_server: HttpsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolving, "FETCH_S", 0.5)
    https_server.answers["/x"] = [(30.0, b"")]
    with pytest.raises(InvalidInput, match="too slow"):
        take(resolver, image=https_server.url("/x"), mask_image=https_server.url("/x"))
    assert https_server.connections == 1


def test_a_claim_knows_where_the_pictures_are(
    resolver: Resolver, repository: Repository, store: S3Store
) -> None:
    add_job(repository, take(resolver, image=data_url(RED), mask_image=data_url(BLUE)))
    add_job(repository, spec())
    first, second = sorted(Puppet(repository, store).claim(), key=lambda item: len(item.inputs))
    assert first.inputs == {}
    assert {store.get(ref) for ref in second.inputs.values()} == {RED, BLUE}
    assert set(second.inputs) == {hashlib.sha256(data).digest() for data in (RED, BLUE)}
