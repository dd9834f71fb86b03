"""Pictures and uploads are deleted when nobody needs them, and not before."""

from __future__ import annotations

import hashlib
import threading
import uuid
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from latentfarm.errors import InvalidInput
from latentfarm.ids import new_id
from latentfarm.keys import upload_key
from latentfarm.references import MAX_INPUT_BYTES
from latentfarm.repository import inputs
from scheduler.duties import Duties
from tests.integration.pictures import BLUE, RED, add_job, count, data_url, stored, take, there, upload
from tests.integration.serving import Puppet

if TYPE_CHECKING:
    from latentfarm.broker import Broker
    from latentfarm.inputs.offering import Uploads
    from latentfarm.inputs.resolving import Resolver
    from latentfarm.repository.facade import Repository
    from latentfarm.settings import Settings
    from latentfarm.spec import RenderSpec
    from latentfarm.storage import S3Store


@pytest.fixture
def duties(repository: Repository, broker: Broker, store: S3Store, settings: Settings) -> Duties:
    """A scheduler's, that keeps nothing longer than it must."""
    brief = settings.model_copy(update={"input_keep_days": 0.0, "collect_after_s": 0.0})
    return Duties(repository, broker, store, brief)


def sweep(duties: Duties) -> str:
    """Marks, and deletes what is marked."""
    work = (duties.drop_uploads, duties.drop_inputs, duties.drop_inputs)
    return ", ".join(filter(None, map(duties.repository.transact, work)))


def test_pictures_live_as_long_as_a_job_needs_them(
    resolver: Resolver, repository: Repository, store: S3Store, duties: Duties
) -> None:
    job = add_job(repository, take(resolver, image=data_url(RED)))
    assert sweep(duties) == ""
    assert there(store, RED)
    puppet = Puppet(repository, store)
    puppet.show(puppet.claim())
    assert repository.get_job(job, tenant="").finished_at is not None  # type: ignore[union-attr]
    assert sweep(duties) == "marked 1 inputs, deleted 1 inputs"
    assert not there(store, RED)
    assert count(repository, "inputs") == count(repository, "job_inputs") == 0
    assert repository.get_job(job, tenant="").spec["image"] == stored(RED)  # type: ignore[union-attr]
    # The same picture can come again.
    add_job(repository, take(resolver, image=data_url(RED)))
    assert there(store, RED)


def test_a_sweep_that_dies_leaves_no_job_a_picture_that_is_gone(
    resolver: Resolver, repository: Repository, store: S3Store, duties: Duties
) -> None:
    given = take(resolver, image=data_url(RED))
    assert repository.transact(duties.drop_inputs) == "marked 1 inputs"
    with repository.engine.connect() as dying:
        assert duties.drop_inputs(dying) == "deleted 1 inputs"
        dying.rollback()
    assert not there(store, RED)
    assert "no longer kept" in str(_refusal(repository, given))
    # Given again it is put again, though its row was never forgotten.
    add_job(repository, take(resolver, image=data_url(RED)))
    assert there(store, RED)
    assert sweep(duties) == ""


def test_pictures_are_kept_for_the_time_that_is_set(
    resolver: Resolver, repository: Repository, store: S3Store, duties: Duties, settings: Settings
) -> None:
    take(resolver, image=data_url(BLUE))
    add_job(repository, take(resolver, image=data_url(RED)))
    puppet = Puppet(repository, store)
    puppet.show(puppet.claim())
    duties.settings = settings.model_copy(update={"input_keep_days": 2.0})
    assert sweep(duties) == ""
    repository.transact(lambda c: c.execute(text("UPDATE inputs SET last_used = now() - interval '50 h'")))
    assert sweep(duties) == "marked 1 inputs, deleted 1 inputs"  # BLUE was in no job
    assert there(store, RED)
    repository.transact(lambda c: c.execute(text("UPDATE jobs SET finished_at = now() - interval '50 h'")))
    assert sweep(duties) == "marked 1 inputs, deleted 1 inputs"
    assert not there(store, RED)


def test_pictures_in_use_do_not_keep_the_sweep_from_others(
    resolver: Resolver, repository: Repository
) -> None:
    """However many of them there are: only what is free is looked at."""
    add_job(repository, take(resolver, image=data_url(RED)))
    take(resolver, image=data_url(BLUE))
    found = repository.transact(lambda c: inputs.retire(c, keep_s=0, limit=1))
    assert found == [hashlib.sha256(BLUE).digest()]


def test_a_sweep_and_a_submit_cannot_both_win(
    resolver: Resolver, repository: Repository, duties: Duties
) -> None:
    """A job is being stored while the sweep looks: its picture must stay, or the job be refused."""
    given = take(resolver, image=data_url(RED))
    job_id = new_id()
    with repository.engine.begin() as storing:
        inputs_of = {"image": hashlib.sha256(RED).digest()}
        storing.execute(text("INSERT INTO specs (digest, body) VALUES ('x', '{}')"))
        storing.execute(
            text(
                "INSERT INTO jobs (id, kind, spec_id, lane, priority, state, seed, num_images, remaining,"
                " queued, keep_latents) SELECT :id, 'single', id, 'bulk', 0, 'queued', 1, 1, 1, 1, 0 FROM specs"
            ),
            {"id": job_id},
        )
        inputs.use(storing, job_id, inputs_of)
        assert sweep(duties) == ""
    assert sweep(duties) == ""
    with repository.engine.begin() as sweeping:
        repository.transact(lambda c: c.execute(text("UPDATE jobs SET finished_at = now()")))
        assert duties.drop_inputs(sweeping) == "marked 1 inputs"
        refused: list[object] = []
        late = threading.Thread(target=lambda: refused.append(_refusal(repository, given)))
        late.start()
        late.join(0.3)
        assert late.is_alive()  # it waits for the sweep to end
    late.join(10)
    assert "no longer kept" in str(refused[0])
    assert count(repository, "jobs") == 1


def _refusal(repository: Repository, given: RenderSpec) -> Exception | None:
    try:
        add_job(repository, given)
    except InvalidInput as error:
        return error
    return None


def test_uploads_are_swept_after_their_time_used_or_not(
    resolver: Resolver, uploads: Uploads, repository: Repository, store: S3Store, duties: Duties
) -> None:
    used, unused = upload(uploads, RED), upload(uploads, BLUE)
    add_job(repository, take(resolver, image=used))
    assert sweep(duties) == ""
    repository.transact(lambda c: c.execute(text("UPDATE uploads SET expires_at = now() - interval '1 s'")))
    assert sweep(duties) == "deleted 2 uploads"
    for name in (used, unused):
        assert store.read(upload_key(uuid.UUID(name)), most=MAX_INPUT_BYTES) is None
    assert count(repository, "uploads") == 0
    assert there(store, RED)
