"""What ends deliveries and webhooks, and what holds up nobody: slow receivers, deaths, other deliverers."""

from __future__ import annotations

import dataclasses
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from latentfarm.inputs.addresses import is_public
from latentfarm.inputs.egress import Patience
from latentfarm.repository import delivering as statements
from latentfarm.webhooks.formats import FORMATS, Format
from latentfarm.webhooks.sending import Sender
from latentfarm.webhooks.signing import new_secret
from latentfarm.webhooks.slots import Slots
from tests.integration.hooking import desk, hook, rows, run
from tests.integration.https_server import LOOPBACK
from tests.integration.receivers import Receiver, sender, until
from tests.integration.test_deliverer import QUICK, delivering, receiver, states

if TYPE_CHECKING:
    from latentfarm.repository.facade import Repository
    from latentfarm.settings import Settings
    from tests.integration.receivers import Got

__all__ = ["receiver"]
AGAIN = dataclasses.replace(QUICK, plan=(600.0,))


def test_410_disables_the_webhook_and_gives_up_what_is_due(
    repository: Repository, settings: Settings, receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    hook_id, _ = hook(repository, receiver, "/410?a-token")
    run(repository)
    run(repository)
    with delivering(repository, settings, sender(receiver), slots=Slots(1, 1, 1)):
        until("disabled", lambda: desk(repository).get(hook_id, tenant="t").disabled_at is not None)
        until("given up", lambda: states(repository) == ["failed", "failed"])
    assert desk(repository).get(hook_id, tenant="t").disabled_reason == "gone"
    told = capsys.readouterr()
    assert "webhook_disabled" in told.out + told.err
    assert "a-token" not in told.out + told.err, "URLs are not logged: they may hold secrets"
    assert len(receiver.got) == 1
    run(repository)
    assert len(rows(repository)) == 2, "nothing more is written for it"


def test_410_of_a_jobs_url_ends_that_delivery_and_no_other(
    repository: Repository, settings: Settings, receiver: Receiver
) -> None:
    with delivering(repository, settings, sender(receiver)):
        run(repository, webhook={"url": receiver.url("/410")})
        until("given up", lambda: states(repository) == ["failed"])
        run(repository, webhook={"url": receiver.url("/ok")})
        until("delivered", lambda: states(repository) == ["failed", "delivered"])


@pytest.mark.parametrize("said", ["410", "500"])
def test_what_a_url_says_that_was_left_meanwhile_says_nothing_of_the_new_one(
    repository: Repository, settings: Settings, receiver: Receiver, said: str
) -> None:
    """Whoever leads a webhook elsewhere does so as the old receiver goes."""
    hook_id, _ = hook(repository, receiver, f"/{said}")
    long_ago = "UPDATE webhooks SET failing_since = now() - interval '6 days'"
    repository.transact(lambda c: c.execute(text(long_ago)))

    def leave(got: Got) -> None:
        if got.path == f"/{said}":
            desk(repository).change(hook_id, {"url": receiver.url("/ok")}, tenant="t")

    receiver.judge = leave
    with delivering(repository, settings, sender(receiver)):
        run(repository)
        until("delivered", lambda: states(repository) == ["delivered"])
    assert [one.path for one in receiver.got] == [f"/{said}", "/ok"]
    found = desk(repository).get(hook_id, tenant="t")
    assert (found.disabled_at, found.failing_since) == (None, None)


def test_days_of_failures_disable_the_webhook_and_one_success_forgets_them(
    repository: Repository, settings: Settings, receiver: Receiver
) -> None:
    hook_id, _ = hook(repository, receiver, "/500-then-ok")
    old = "UPDATE webhooks SET failing_since = now() - interval '4 days 23 h'"
    repository.transact(lambda c: c.execute(text(old)))
    with delivering(repository, settings, sender(receiver)):
        run(repository)
        until("delivered", lambda: states(repository) == ["delivered"])
        assert desk(repository).get(hook_id, tenant="t").failing_since is None
        repository.transact(lambda c: c.execute(text(old.replace("4 days 23 h", "5 days 1 h"))))
        run(repository)
        until("disabled", lambda: desk(repository).get(hook_id, tenant="t").disabled_at is not None)
    assert desk(repository).get(hook_id, tenant="t").disabled_reason == "failing"
    desk(repository).change(hook_id, {"enabled": True}, tenant="t")
    assert desk(repository).get(hook_id, tenant="t").failing_since is None


def test_both_secrets_sign_during_a_rotation_and_the_old_one_no_longer_after_it(
    repository: Repository, settings: Settings, receiver: Receiver
) -> None:
    hook_id, old = hook(repository, receiver)
    _, new = desk(repository).rotate(hook_id, tenant="t", overlap_s=3600)
    with delivering(repository, settings, sender(receiver)):
        run(repository)
        until("first", lambda: len(receiver.got) == 1)
        over = "UPDATE webhooks SET old_until = now()"
        repository.transact(lambda c: c.execute(text(over)))
        run(repository)
        until("second", lambda: len(receiver.got) == 2)
    first, second = receiver.got
    first.verify(new)
    first.verify(old)
    second.verify(new)
    with pytest.raises(Exception, match="No matching signature"):
        second.verify(old)


def test_a_defect_of_a_format_keeps_no_job_from_ending_and_no_slot_for_ever(
    repository: Repository, settings: Settings, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> None:
        raise KeyError("a defect")

    monkeypatch.setitem(FORMATS, "broken", Format(broken))
    hook(repository, receiver, form="broken")
    with delivering(repository, settings, sender(receiver), slots=Slots(1, 1, 1)):
        job_id = run(repository)
        until("given up", lambda: states(repository) == ["failed"])
        hook(repository, receiver)
        run(repository)
        until("the other", lambda: states(repository).count("delivered") == 1)
    found = rows(repository)[0]
    assert (found.job_id, found.facts["state"], found.tries) == (job_id, "succeeded", len(QUICK.plan) + 1)
    assert "could not send it" in found.log[-1]["error"]


def test_what_is_not_public_is_never_reached_and_tried_again_by_the_plan(
    repository: Repository, settings: Settings, receiver: Receiver
) -> None:
    hook(repository, receiver)
    out = sender(receiver, allowed=is_public)
    with delivering(repository, settings, out, AGAIN):
        run(repository)
        until("tried", lambda: [row.tries for row in rows(repository)] == [1])
    assert receiver.got == []
    told = rows(repository)[0].log[0]["error"]
    assert "is not public" in told
    assert LOOPBACK not in told


def test_the_farms_own_sender_takes_one_port_and_no_private_address() -> None:
    out, patience = Sender(), Patience(time.monotonic() + 5, 5)
    for url in (
        "https://pictures.example:8443/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "http://a.example/",
    ):
        answer = out.post(url, b"{}", {}, patience)
        assert answer.status is None
        assert answer.error is not None


def test_receivers_that_hang_do_not_hold_up_the_others(
    repository: Repository, settings: Settings, receiver: Receiver
) -> None:
    terms = dataclasses.replace(QUICK, try_s=20.0, lease_s=60.0)
    for number in range(3):
        hook(repository, receiver, f"/hang/{number}", tenant=f"slow {number}")
        for _ in range(10):
            run(repository, tenant=f"slow {number}")
    hook(repository, receiver, "/ok")
    with delivering(repository, settings, sender(receiver), terms, Slots(16, 8, 4)):
        until("hung", lambda: len(receiver.got) == 12)
        run(repository)
        until("delivered", lambda: states(repository) == ["delivered"], 10)
        receiver.stopping.set()


def test_a_deliverer_that_dies_is_followed_by_another_after_the_lease(
    repository: Repository, settings: Settings, receiver: Receiver
) -> None:
    """The claim of the first is never heard of again."""
    _, secret = hook(repository, receiver)
    run(repository)
    claim = partial(statements.claim, lease_s=1.0, api_url="", new_secret=new_secret)
    found = repository.transact(lambda c: statements.waiting(c, each=9, limit=9))
    (post,) = repository.transact(lambda c: claim(c, found))
    assert repository.transact(lambda c: claim(c, found)) == [], "it is claimed once"
    with delivering(repository, settings, sender(receiver)):
        until("delivered", lambda: states(repository) == ["delivered"])
    receiver.got[0].verify(secret)
    late = {"at": "", "status": None, "error": "x", "ms": 1}
    assert not repository.transact(lambda c: statements.failed(c, post, late, 0.1)), "its word is not heard"
    assert states(repository) == ["delivered"]


def test_two_deliverers_share_the_work_and_neither_sends_twice(
    repository: Repository, settings: Settings, receiver: Receiver
) -> None:
    hook(repository, receiver)
    for _ in range(40):
        run(repository)
    with (
        delivering(repository, settings, sender(receiver)),
        delivering(repository, settings, sender(receiver)),
    ):
        until("all", lambda: states(repository) == ["delivered"] * 40)
    assert len(receiver.got) == len(receiver.ids()) == 40


def test_old_deliveries_are_forgotten(repository: Repository, receiver: Receiver) -> None:
    hook(repository, receiver)
    run(repository)
    run(repository)
    old = "UPDATE deliveries SET created_at = now() - interval '2 days' WHERE id = :id"
    kept = rows(repository)[1].id
    repository.transact(lambda c: c.execute(text(old), {"id": rows(repository)[0].id}))
    assert repository.transact(lambda c: statements.forget(c, keep_s=86_400, limit=10)) == 1
    assert [row.id for row in rows(repository)] == [kept]


def test_each_try_looks_a_name_up_once_and_believes_no_mixture(receiver: Receiver) -> None:
    """Alternating DNS: what was public may lead inside at the next try, or beside a public address."""
    answers = iter([[LOOPBACK], ["127.0.0.2"], [LOOPBACK, "169.254.169.254"], [], [LOOPBACK]])
    out = sender(receiver, resolver=lambda *_: next(answers))
    tries = [
        out.post(receiver.url("/ok"), b"{}", {"Content-Length": "2"}, Patience(time.monotonic() + 9, 9))
        for _ in range(5)
    ]
    assert [one.status for one in tries] == [200, None, None, None, 200]
    assert [one.error for one in tries[1:4]] == ["pictures.example is not public"] * 3
    assert len(receiver.got) == 2
