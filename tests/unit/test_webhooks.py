"""Webhooks without services: words, signatures, the plan of tries, and who gets a slot."""

from __future__ import annotations

import base64
import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from openai import OpenAI
from standardwebhooks import Webhook, WebhookVerificationError

from latentfarm.ids import new_id
from latentfarm.webhooks.formats import FORMATS
from latentfarm.webhooks.hook import Waiting
from latentfarm.webhooks.plan import DELAYS_S, JITTER, delay_s, wait_s
from latentfarm.webhooks.signing import MARK, headers, message_id, new_secret
from latentfarm.webhooks.slots import SLOW_S, Slots
from latentfarm.webhooks.told import ENDS, EVENTS, STARTED, Told, default_id, wanted

ID = UUID(int=0xABC)
AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def told(event: str = "job.succeeded", **job: object) -> Told:
    facts = {"id": str(ID), "kind": "single", "state": event.split(".")[1], "num_images": 4, "failed": 0}
    return Told(ID, event, AT, facts | job, "http://farm.example:8400/", {"prompt": "a secret"})


@pytest.mark.parametrize("event", EVENTS)
def test_the_native_words_are_the_event_and_the_job_without_its_prompts(event: str) -> None:
    made = FORMATS["native"].render(told(event, metadata={"a": "b"}))
    assert made is not None
    kind, body = made
    assert kind == body["type"] == event
    assert datetime.fromisoformat(body["timestamp"]) == AT
    assert body["data"]["object"] == "job"
    assert body["data"]["metadata"] == {"a": "b"}
    assert body["data"]["url"] == f"http://farm.example:8400/v1/jobs/{ID}"
    assert "secret" not in json.dumps(body)


def test_a_dataset_is_shown_as_one() -> None:
    made = FORMATS["native"].render(told(kind="dataset", dataset="birds"))
    assert made is not None
    assert made[1]["data"]["url"] == "http://farm.example:8400/v1/datasets/birds"


OPENAI_TYPES = {
    "job.succeeded": "batch.completed",
    "job.failed": "batch.completed",
    "job.cancelled": "batch.cancelled",
    "dataset.rejected": "batch.failed",
}


TAKEN_BACK = [(event, f"batch.{how}", how) for event in OPENAI_TYPES for how in ("expired", "cancelled")]


@pytest.mark.parametrize(
    ("event", "kind", "batch"), [*((*one, None) for one in OPENAI_TYPES.items()), *TAKEN_BACK]
)
def test_openais_client_verifies_and_parses_its_words(event: str, kind: str, batch: str | None) -> None:
    made = FORMATS["openai"].render(told(event, kind="dataset", batch=batch))
    assert made is not None
    assert made[0] == kind
    body, secret = json.dumps(made[1]), new_secret()
    signed = headers(ID, body, [secret], datetime.now(UTC))
    client = OpenAI(api_key="x", webhook_secret=secret)
    event_of: Any = client.webhooks.unwrap(body, signed)
    assert event_of.type == kind
    assert event_of.id == f"evt_{ID.hex}"
    assert event_of.object == "event"
    assert event_of.created_at == int(AT.timestamp())
    assert event_of.data.id == f"batch_{ID}"


def test_openais_words_have_nothing_for_other_jobs_and_for_starts() -> None:
    assert FORMATS["openai"].render(told("job.succeeded")) is None
    assert FORMATS["openai"].render(told(STARTED, kind="dataset")) is None


def test_a_filter_that_names_nothing_means_the_ends() -> None:
    assert [event for event in EVENTS if wanted(event, ())] == list(ENDS)
    assert [event for event in EVENTS if wanted(event, (STARTED,))] == [STARTED]


def test_each_tenant_has_a_default_of_its_own_that_stays() -> None:
    assert default_id("a") == default_id("a") != default_id("b") != default_id("")


def test_secrets_have_256_bits_and_a_mark() -> None:
    drawn = {new_secret() for _ in range(100)}
    assert len(drawn) == 100
    assert all(len(base64.b64decode(one.removeprefix(MARK), validate=True)) == 32 for one in drawn)


def signed(body: str, secrets: list[str], at: datetime | None = None) -> dict[str, str]:
    return headers(ID, body, secrets, at or datetime.now(UTC))


def test_the_reference_library_takes_what_is_signed_and_during_a_rotation_either_secret() -> None:
    new, old = new_secret(), new_secret()
    made = signed('{"a":1}', [new, old])
    assert made["webhook-id"] == message_id(ID)
    for secret in (new, old):
        assert Webhook(secret).verify('{"a":1}', made) == {"a": 1}
    with pytest.raises(WebhookVerificationError):
        Webhook(old).verify('{"a":1}', signed('{"a":1}', [new]))


def altered() -> dict[str, tuple[str, dict[str, str], str]]:
    """60 cases of body, headers and secret: tampered with, taken for another message, stale, or somebody else's."""
    cases: dict[str, tuple[str, dict[str, str], str]] = {}
    for n in range(10):
        body = json.dumps({"type": "job.succeeded", "n": n})
        secret = f"{MARK}{base64.b64encode(bytes([n] * 32)).decode()}"
        good, now = signed(body, [secret]), datetime.now(UTC)
        off = timedelta(minutes=5 + n + 1)
        cases |= {
            f"body {n}": (body.replace(str(n), str(n + 1)), good, secret),
            f"id {n}": (body, good | {"webhook-id": message_id(UUID(int=n))}, secret),
            f"time {n}": (body, good | {"webhook-timestamp": str(int(now.timestamp()) - n - 2)}, secret),
            f"stale {n}": (body, signed(body, [secret], now - off), secret),
            f"ahead {n}": (body, signed(body, [secret], now + off), secret),
            f"secret {n}": (body, good, new_secret()),
        }
    return cases


@pytest.mark.parametrize("number", range(60))
def test_the_reference_library_refuses_what_was_tampered_with_replayed_or_stale(number: int) -> None:
    body, head, secret = list(altered().values())[number]
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body, head)


def test_ten_tries_are_spread_over_three_days_and_never_in_step() -> None:
    for _ in range(50):
        delays = [delay_s(tries) for tries in range(1, 12)]
        assert delays[9:] == [None, None]
        for drawn, planned in zip(delays, DELAYS_S, strict=False):
            assert drawn is not None
            assert planned * (1 - JITTER) <= drawn <= planned * (1 + JITTER)
    assert len({delay_s(3) for _ in range(50)}) > 1
    assert 72 <= sum(DELAYS_S) / 3600 <= 80


def test_a_receiver_can_put_a_try_off_as_long_as_the_plan_ever_waits_and_no_longer() -> None:
    plan, longest = (1.0, 60.0, 5.0), 60.0
    for tries, wait, least in (
        (1, 0.0, 0.8),
        (1, 30.0, 30.0),
        (1, 1e9, longest),
        (2, 1.0, 48.0),
        (3, 60.0, longest),
    ):
        drawn = [delay_s(tries, plan, wait_s=wait) for _ in range(50)]
        found = [one for one in drawn if one is not None]
        assert len(found) == 50
        assert least <= min(found) < max(found) <= max(least, plan[tries - 1]) * (1 + JITTER)
    assert delay_s(4, plan, wait_s=30.0) is None


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120.0),
        (" 5 ", 5.0),
        ("0", 0.0),
        ("Fri, 02 Jan 2026 03:05:05 GMT", 60.0),
        ("Fri, 02 Jan 2026 03:05:05", 60.0),
        ("Fri, 02 Jan 2026 03:03:05 GMT", 0.0),
        (None, 0.0),
        *((text, 0.0) for text in ("", "-5", "1.5", "1e3", "soon", "120, 120", "٣", "9" * 30)),
        *((f"Fri, 02 Jan {year} 03:05:05 GMT", 0.0) for year in ("0", "x", "9" * 30)),
    ],
)
def test_a_retry_after_is_seconds_or_a_date(header: str | None, seconds: float) -> None:
    assert wait_s(header, AT) == seconds


def candidates(tenant: str, target: str, count: int) -> list[Waiting]:
    return [Waiting(new_id(), tenant, target) for _ in range(count)]


def test_a_receiver_and_a_tenant_get_no_more_slots_than_they_may() -> None:
    slots = Slots(8, 6, 2)
    many = [one for name in "abcde" for one in candidates("greedy", name, 5)]
    mine = slots.choose(many)
    assert Counter(one.target for one in mine) == {"a": 2, "b": 2, "c": 2}
    others = slots.choose(candidates("modest", "a", 5))
    assert [one.tenant for one in others] == ["modest"] * 2
    assert slots.free == 0
    slots.leave(mine[0], 0.1)
    assert slots.choose(many)[0].target in "abc"


def test_nobody_gets_a_slot_twice_for_one_delivery() -> None:
    slots = Slots()
    one = candidates("t", "a", 1)
    assert slots.choose(one * 3) == one


def test_slow_receivers_get_one_slot_each_and_half_of_all() -> None:
    slots = Slots(8, 8, 4)
    for name in "abcdef":
        for one in slots.choose(candidates(name, "slow", 1)):
            slots.leave(one, SLOW_S + 1)
    slow = slots.choose([one for name in "abcdef" for one in candidates(name, "slow", 4)])
    assert Counter(one.tenant for one in slow) == dict.fromkeys("abcd", 1)
    assert len(slots.choose(candidates("quick", "a", 9))) == 4
    for one in slow:
        slots.leave(one, 0.1)
    assert slots.free == 4
    assert len(slots.choose(candidates("a", "slow", 4))) == 4, "it has become quick"


def test_a_slot_that_was_taken_for_nothing_says_nothing_of_its_receiver() -> None:
    slots = Slots(4, 4, 4)
    slow, other = [*candidates("t", "a", 1), Waiting(uuid4(), "t", "a")]
    slots.choose([slow])
    slots.leave(slow, SLOW_S + 1)
    slots.choose([other])
    slots.leave(other)
    assert len(slots.choose(candidates("t", "a", 4))) == 1
    assert slots.free == 3
