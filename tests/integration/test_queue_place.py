"""What a job that waits is told: its place, when its turn may come, and what that is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest
from sqlalchemy import Engine, event, text
from typer.testing import CliRunner

from latentfarm.cli.app import app
from latentfarm.client import Client
from latentfarm.repository import charging, pacing, position, tenants
from latentfarm.states import Lane
from tests.integration.serving import Puppet, serve
from tests.integration.test_charging import run
from tests.integration.test_fair_dispatch import add, do, pick

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

    from sqlalchemy import Connection

    from latentfarm.repository.facade import Repository
    from latentfarm.settings import Settings
    from latentfarm.storage import S3Store


@pytest.fixture
def client(settings: Settings) -> Iterator[Client]:
    with serve(settings) as url, Client(url) as client:
        yield client


def ahead(client: Client, job: UUID) -> int | None:
    shown = client.get(job)
    assert shown.queue is not None
    return shown.queue.ahead


def counted(repository: Repository) -> None:
    """Half a minute in which a worker began 60 renders and ran 4 of them at any time, its own and no other."""
    do(
        repository,
        "UPDATE queues SET recent_starts = 60, recent_worker_s = 30, recent_run_s = 120, recent_gpu_s = 30"
        " WHERE stage = 0",
    )


def test_what_goes_before_a_job_is_counted_by_lane_tenant_and_turn(
    client: Client, repository: Repository
) -> None:
    first = add(repository, 5)
    assert ahead(client, first) == 0
    second = add(repository, 5)
    assert ahead(client, second) == 1  # jobs of a tenant take turns
    add(repository, 7, priority=3)
    assert (ahead(client, first), ahead(client, second)) == (7, 8)
    add(repository, 100, "other")
    assert ahead(client, second) == 16
    repository.transact(lambda c: tenants.change(c, "other", {"weight": 3}))
    assert ahead(client, second) == 32
    add(repository, 4, lane=Lane.INTERACTIVE)
    assert ahead(client, second) == 36


def test_what_cannot_be_served_goes_before_nobody(client: Client, repository: Repository) -> None:
    for tenant in ("paused", "later", "tenant"):
        add(repository, 10, tenant)
    do(repository, "UPDATE jobs SET paused_at = now() WHERE tenant = 'paused'")
    do(repository, "UPDATE jobs SET start_after = now() + interval '1 h' WHERE tenant = 'later'")
    repository.transact(lambda c: tenants.change(c, "tenant", {"paused": True}))
    do(repository, "UPDATE jobs SET created_at = created_at - interval '1 s'")
    assert ahead(client, add(repository, 1)) == 0


def test_what_was_sent_goes_before_what_waits_and_counts_its_own_place(
    client: Client, repository: Repository
) -> None:
    add(repository, 6)
    pick(repository, 6)
    waiting = add(repository, 2)
    assert ahead(client, waiting) == 6
    pick(repository, 2)
    assert ahead(client, waiting) == 6
    do(repository, "UPDATE renders SET sent_at = sent_at + interval '1 h' WHERE job_id <> :job", job=waiting)
    assert ahead(client, waiting) == 0


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("UPDATE jobs SET paused_at = now()", "it is paused"),
        ("UPDATE jobs SET start_after = '2100-01-01T00:00:00Z'", "it is to begin at 2100-01-01"),
        ("INSERT INTO tenants (name, paused_at) VALUES ('', now())", "its tenant is paused"),
        (
            "INSERT INTO tenants (name, max_in_flight) VALUES ('', 0)",
            "its tenant may have no render in flight",
        ),
    ],
)
def test_what_is_held_back_says_why(client: Client, repository: Repository, how: str, told: str) -> None:
    job = add(repository, 3)
    do(repository, how)
    shown = client.get(job)
    assert shown.queue is not None
    assert shown.estimate is not None
    assert (shown.queue.ahead, (shown.queue.held_back or "").startswith(told)) == (None, True)
    assert shown.estimate.starts_in_s is None
    assert shown.estimate.basis.told.startswith(told)


def test_without_a_worker_or_a_measure_the_basis_says_so(
    client: Client, repository: Repository, store: S3Store
) -> None:
    add(repository, 3)
    job = add(repository, 3)
    assert estimate(client, job) == (None, None, "no worker serves base.tiny.bulk")
    Puppet(repository, store)
    assert estimate(client, job) == (None, None, "nothing of base.tiny.bulk was measured yet")


def estimate(client: Client, job: UUID) -> tuple[float | None, float | None, str]:
    found = client.get(job).estimate
    assert found is not None
    return found.starts_in_s, found.ends_in_s, found.basis.told


def test_an_estimate_goes_by_what_the_queue_did_and_by_the_workers_of_now(
    client: Client, repository: Repository, store: S3Store
) -> None:
    add(repository, 7, priority=1)
    job = add(repository, 3)
    Puppet(repository, store)
    counted(repository)
    # 2 a second, each for 2 s.
    starts, ends, told = estimate(client, job)
    assert (starts, ends) == (3.5, 6.5)
    assert told.startswith("60 renders of base.tiny.bulk that began in 30 s of workers")
    basis = client.get(job).estimate
    assert basis is not None
    assert basis.basis.model_dump(exclude={"told"}) == {
        "queue": "base.tiny.bulk",
        "renders_per_s": 2.0,
        "measured_renders": 60,
        "measured_worker_s": 30.0,
        "workers": 1,
    }
    Puppet(repository, store)
    assert estimate(client, job)[:2] == (1.75, 4.25)


def test_the_other_lane_is_a_measure_where_its_own_has_none(
    client: Client, repository: Repository, store: S3Store
) -> None:
    add(repository, 1, lane=Lane.INTERACTIVE)
    do(repository, "UPDATE queues SET recent_starts = 10, recent_worker_s = 10, recent_run_s = 10")
    Puppet(repository, store)
    found = client.get(add(repository, 1)).estimate
    assert found is not None
    assert (found.starts_in_s, found.basis.queue) == (1.0, "base.tiny.interactive")


def test_a_refined_job_ends_after_its_second_stage(
    client: Client, repository: Repository, store: S3Store
) -> None:
    job = add(repository, 1, refiner={"mode": "ensemble"})
    Puppet(repository, store)
    counted(repository)
    starts, ends, told = estimate(client, job)
    assert (starts, ends) == (0.0, None)
    assert "nothing of the refine stage was measured" in told
    made = (
        "INSERT INTO queues (name, stage, model, lane, recent_starts, recent_worker_s, recent_run_s)"
        " VALUES ('refine.tiny.bulk', 1, 'tiny', 'bulk', 10, 10, 15)"
    )
    do(repository, made)
    assert estimate(client, job)[:2] == (0.0, 3.5)


def test_jobs_that_run_or_have_ended_are_asked_for_nothing_more(
    client: Client, repository: Repository, store: S3Store
) -> None:
    asked: list[str] = []
    job, _ = add(repository, 4), add(repository, 4)
    puppet = Puppet(repository, store)
    with httpx.Client(base_url=client._http.base_url) as http:
        assert http.get(f"/v1/jobs/{job}").json()["queue"]["ahead"] == 0
        puppet.show(puppet.claim()[:2])

        def note(*given: Any) -> None:
            asked.append(given[2])

        event.listen(Engine, "before_cursor_execute", note)
        shown = http.get(f"/v1/jobs/{job}").json()
        assert (shown["state"], shown["queue"], shown["estimate"]) == ("running", None, None)
        event.remove(Engine, "before_cursor_execute", note)
        assert asked
        assert not [sql for sql in asked if "served_at" in sql]


MEASURED = text("SELECT recent_starts, recent_worker_s, recent_run_s, recent_gpu_s FROM queues")


def swept(repository: Repository, seconds: float, begun: str) -> tuple[float, ...]:
    """What is known of the queue after a sweep of so many seconds, with all attempts begun at a time."""

    def work(connection: Connection) -> tuple[float, ...]:
        back = (
            "INSERT INTO meters (name, read_at) VALUES ('gpu', now() - make_interval(secs => :s))"
            " ON CONFLICT (name) DO UPDATE SET read_at = excluded.read_at"
        )
        connection.execute(text(back), {"s": seconds})
        connection.execute(text(f"UPDATE attempts SET started_at = {begun}"))
        charging.charge(connection)
        return tuple(connection.execute(MEASURED).one())

    return repository.transact(work)


def test_the_sweep_measures_what_a_queue_did_while_it_had_work(
    repository: Repository, store: S3Store
) -> None:
    puppet = Puppet(repository, store)
    add(repository, 6)
    repository.mark_ready(puppet.worker, {})
    run(repository, puppet.worker, pick(repository, 4))
    do(repository, "UPDATE workers SET lease_until = now() + interval '1 h'")
    # One worker runs four renders for four seconds, and all of them began in these.
    assert swept(repository, 4.0, "now()") == pytest.approx((4.0, 4.0, 16.0, 4.0))
    keep = 0.5 ** (9.0 / pacing.FADE_S)
    later = (4.0 * keep, 4.0 * keep + 9.0, 16.0 * keep + 36.0, 4.0 * keep + 9.0)
    assert swept(repository, 9.0, "now() - interval '1 h'") == pytest.approx(later)
    # Nobody counts what a scheduler that was away has missed, nor time without work.
    assert swept(repository, 60.0, "now()") == pytest.approx(later)
    do(repository, "UPDATE renders SET state = 3")
    do(repository, "UPDATE jobs SET queued = 0")
    assert swept(repository, 9.0, "now() - interval '1 h'") == pytest.approx(later)


def test_more_jobs_than_are_counted_make_it_a_least_one(
    client: Client, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [add(repository, 2) for _ in range(6)]
    shown = client.get(jobs[5]).queue
    assert shown is not None
    assert (shown.ahead, shown.at_least) == (5, False)
    monkeypatch.setattr(position, "MOST_JOBS", 4)
    shown = client.get(jobs[5]).queue
    assert shown is not None
    assert shown.at_least


def test_the_command_tells_place_and_estimate(client: Client, repository: Repository, store: S3Store) -> None:
    def ran() -> str:
        shown = ["jobs", "show", str(job), "--api", client._http.base_url]
        return CliRunner().invoke(app, shown, catch_exceptions=False).output

    add(repository, 3, priority=1)
    job = add(repository, 1)
    assert "3 renders before it in base.tiny.bulk" in ran()
    assert "not known: no worker serves base.tiny.bulk" in ran()
    Puppet(repository, store)
    counted(repository)
    assert "in 2 s, ends in 4 s" in ran()
