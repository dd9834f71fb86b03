"""A delivery is written by the transaction that ends the job, for those who want to be told, and for nobody else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import event, text

from latentfarm.errors import ErrorClass
from latentfarm.ids import new_id
from latentfarm.records import Failure
from latentfarm.repository import cancelling, failing, finishing, inserting, sets, sweeping
from latentfarm.spec import RenderSpec
from latentfarm.webhooks.told import EVENTS, default_id
from tests.integration.hooking import claim, desk, finish, rows, run, submit
from tests.integration.test_repository import done

if TYPE_CHECKING:
    from uuid import UUID

    from latentfarm.repository.facade import Repository

URL = "https://hooks.example/in"


def make(repository: Repository, tenant: str = "t", *events: str, form: str = "native") -> UUID:
    return desk(repository).create(tenant=tenant, url=URL, events=events, form=form)[0].id


def test_the_row_comes_with_the_commit_that_ends_the_job_and_not_before(repository: Repository) -> None:
    hook_id = make(repository)
    job_id = submit(repository, n=2)
    claimed = claim(repository)
    finish(repository, claimed[:1])
    assert rows(repository) == []
    with repository.engine.connect() as open_one:
        transaction = open_one.begin()
        finishing.finish(open_one, done(claimed[1:]))
        assert rows(repository) == [], "seen by nobody before the commit"
        transaction.commit()
    (row,) = rows(repository)
    assert (row.webhook_id, row.job_id, row.event, row.type, row.state) == (
        hook_id,
        job_id,
        "job.succeeded",
        "job.succeeded",
        "due",
    )
    assert row.facts["state"] == "succeeded"
    assert row.facts["finished_at"] is not None
    assert "canary" not in str(row.facts)


def test_a_rollback_takes_the_row_with_it(repository: Repository) -> None:
    make(repository)
    submit(repository)
    claimed = claim(repository)
    with repository.engine.connect() as open_one:
        finishing.finish(open_one, done(claimed))
        open_one.rollback()
    assert rows(repository) == []
    finish(repository, claimed)
    assert len(rows(repository)) == 1


def test_every_way_to_end_a_job_writes_one(repository: Repository) -> None:
    make(repository)
    run(repository)
    submit(repository)
    failures = [
        Failure(one.render_id, one.fence, ErrorClass.USER, "cannot be done") for one in claim(repository)
    ]
    repository.transact(lambda c: failing.fail(c, failures))
    cancelled = submit(repository)
    repository.mark_cancelled(cancelled, tenant="t")
    repository.cancel_renders(cancelled)
    half = submit(repository)
    repository.mark_cancelled(half, tenant="t")
    set_back = "UPDATE jobs SET cancelled_at = now() - interval '1 h' WHERE id = :id"
    repository.transact(lambda c: c.execute(text(set_back), {"id": half}))
    repository.transact(sweeping.half_cancelled)
    lost = submit(repository, n=2)
    wrong = "UPDATE renders SET state = 3 WHERE job_id = :id"
    old = "UPDATE jobs SET created_at = now() - interval '1 h' WHERE id = :id"
    for statement in (wrong, old):
        repository.transact(lambda c, s=statement: c.execute(text(s), {"id": lost}))  # type: ignore[misc]
    repository.transact(lambda c: sweeping.end_settled(c, cancelled))
    assert [row.type for row in rows(repository)] == [
        "job.succeeded",
        "job.failed",
        "job.cancelled",
        "job.cancelled",
        "job.succeeded",
    ]
    assert len({row.job_id for row in rows(repository)}) == 5


def test_a_dataset_tells_of_its_end_in_both_formats(repository: Repository) -> None:
    """Cancelled here; it ends through the same function however it ends."""
    make(repository)
    make(repository, form="openai")
    dataset = new_id()
    own = '{"webhook": {"url": "https://own.example/x", "events": [], "format": "openai"}}'
    spec = RenderSpec(prompt="x", width=64, height=64, seed=1).picture()
    add = "INSERT INTO datasets (id, tenant, name, phase, request, seed, report) VALUES (:id, 't', 'birds', 'inserting', :request, 1, '{}')"
    repository.transact(lambda c: c.execute(text(add), {"id": dataset, "request": own}))
    repository.transact(
        lambda c: inserting.begin(
            c,
            dataset,
            tenant="t",
            seed=1,
            first=0,
            images=4,
            shard_samples=2,
            picture=spec,
            priority=0,
            keep_latents=0,
            retain_days=None,
            metadata={},
            models=["tiny"],
        )
    )
    repository.mark_cancelled(dataset, tenant="t")
    repository.transact(lambda c: cancelling.cancel_renders(c, dataset))
    assert {row.type for row in rows(repository)} == {"job.cancelled", "batch.cancelled"}
    assert sorted(str(row.url) for row in rows(repository)) == ["None", "None", "https://own.example/x"]
    assert {row.facts["dataset"] for row in rows(repository)} == {"birds"}


def test_a_manifest_that_is_refused_is_told_of_and_a_dry_run_is_not(repository: Repository) -> None:
    make(repository)
    make(repository, form="openai")
    own = '{"url": "https://own.example/x", "events": [], "format": "native"}'
    add = f"""INSERT INTO datasets (id, tenant, name, phase, request, seed, report)
             VALUES (:id, 't', :name, 'checking', '{{"metadata": {{"a": "b"}}, "webhook": {own}}}', 1, '{{}}')"""
    for name in ("birds", "dry-run/1"):
        dataset = new_id()
        repository.transact(lambda c, n=name, d=dataset: c.execute(text(add), {"id": d, "name": n}))  # type: ignore[misc]
        repository.transact(lambda c, d=dataset: sets.reject(c, d, {"field": "x"}))  # type: ignore[misc]
        repository.transact(lambda c, d=dataset: sets.reject(c, d, {"field": "x"}))  # type: ignore[misc]
    found = rows(repository)
    assert {(row.type, row.facts["dataset"], row.facts["state"]) for row in found} == {
        ("dataset.rejected", "birds", "rejected"),
        ("batch.failed", "birds", "rejected"),
    }
    assert [row.url for row in found].count("https://own.example/x") == 1
    assert len(found) == 3, "it is refused once"
    assert found[0].facts["metadata"] == {"a": "b"}


@pytest.mark.parametrize("named", EVENTS)
def test_filters_of_webhooks_and_of_jobs(repository: Repository, named: str) -> None:
    make(repository, "t", named)
    own = {"url": "https://own.example/x", "events": [named]}
    run(repository, webhook=own)
    happened = {"job.running", "job.succeeded"}
    found = rows(repository)
    assert [row.event for row in found] == ([named, named] if named in happened else [])
    for row in found:
        assert (row.url, row.target) in {
            (None, str(row.webhook_id)),
            ("https://own.example/x", "own.example"),
        }


def test_a_url_of_a_job_is_told_of_that_job_alone_and_signed_by_the_default(repository: Repository) -> None:
    job_id = run(repository, webhook={"url": "https://own.example/x?a=b"})
    run(repository)
    (row,) = rows(repository)
    assert (row.job_id, row.url, row.webhook_id) == (job_id, "https://own.example/x?a=b", default_id("t"))


def test_nobody_is_told_of_other_tenants_jobs_or_while_disabled(repository: Repository) -> None:
    hook_id = make(repository)
    run(repository, tenant="other")
    desk(repository).change(str(hook_id), {"enabled": False}, tenant="t")
    run(repository)
    assert rows(repository) == rows(repository, tenant="other") == []
    desk(repository).change(str(hook_id), {"enabled": True}, tenant="t")
    run(repository)
    assert len(rows(repository)) == 1


def test_bulk_images_write_none_and_a_job_without_receivers_costs_no_statement(
    repository: Repository,
) -> None:
    make(repository, "somebody else")
    seen: list[str] = []

    def note(_c: object, _cursor: object, statement: str, *_: object) -> None:
        seen.append(statement)

    submit(repository, n=3, lane="bulk")
    claimed = claim(repository)
    event.listen(repository.engine, "before_cursor_execute", note)
    repository.transact(lambda c: finishing.finish(c, done(claimed)))
    plain = len(seen)
    assert not any("deliveries" in statement for statement in seen)
    seen.clear()
    make(repository)
    submit(repository, n=3, lane="bulk")
    claimed = claim(repository)
    seen.clear()
    repository.transact(lambda c: finishing.finish(c, done(claimed)))
    event.remove(repository.engine, "before_cursor_execute", note)
    assert len(seen) == plain + 1, "what happened, in one call"
    assert len(rows(repository)) == 1
