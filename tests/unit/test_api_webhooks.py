"""Routes and bodies of webhooks, and what is refused before a service is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.test_api_bad_input import client, post, spec

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

__all__ = ["client"]

WEBHOOK_ROUTES = {
    "post /v1/webhooks",
    "get /v1/webhooks",
    "get /v1/webhooks/default/secret",
    "get /v1/webhooks/{webhook_id}",
    "patch /v1/webhooks/{webhook_id}",
    "delete /v1/webhooks/{webhook_id}",
    "post /v1/webhooks/{webhook_id}/rotate",
    "get /v1/webhooks/{webhook_id}/deliveries",
    "post /v1/webhooks/{webhook_id}/deliveries/{delivery_id}/replay",
    "post /v1/webhooks/{webhook_id}/replay",
}
WEBHOOK_VIEWS = (
    "WebhookRequest",
    "WebhookChange",
    "SecretRotation",
    "ReplayRequest",
    "WebhookView",
    "WebhookCreated",
    "WebhookList",
    "SecretView",
    "DeliveryView",
    "DeliveryList",
    "TryView",
    "Replayed",
)

HOOKS = {
    "text": ("https://a.example", "webhook"),
    "no url": ({}, "webhook.url"),
    "http": ({"url": "http://a.example/"}, "webhook.url"),
    "port": ({"url": "https://a.example:8443/"}, "webhook.url"),
    "loopback": ({"url": "https://127.0.0.1/"}, "webhook.url"),
    "metadata": ({"url": "https://169.254.169.254/latest"}, "webhook.url"),
    "mapped": ({"url": "https://[::ffff:10.0.0.1]/"}, "webhook.url"),
    "number": ({"url": "https://2130706433/"}, "webhook.url"),
    "user": ({"url": "https://a@a.example/"}, "webhook.url"),
    "long": ({"url": "https://a.example/" + "x" * 2048}, "webhook.url"),
    "line": ({"url": "https://a.example/\r\nX: y"}, "webhook.url"),
    "event": ({"url": "https://a.example/", "events": ["job.gone"]}, "webhook.events.0"),
    "events": ({"url": "https://a.example/", "events": ["job.failed"] * 6}, "webhook.events"),
    "format": ({"url": "https://a.example/", "format": "xml"}, "webhook.format"),
    "more": ({"url": "https://a.example/", "secret": "x"}, "webhook.secret"),
}


@pytest.mark.parametrize("name", HOOKS)
def test_a_webhook_that_nothing_can_be_sent_to_is_refused(client: TestClient, name: str) -> None:
    given, field = HOOKS[name]
    status, problem = post(client, spec(webhook=given))
    assert status == 422
    assert problem["errors"][0]["field"] == field  # type: ignore[index]


ASKED = HOOKS | {"missing": ({"events": []}, "url")}


@pytest.mark.parametrize("name", [name for name in ASKED if name not in ("text", "no url")])
def test_a_webhook_of_a_tenant_is_refused_alike(client: TestClient, name: str) -> None:
    given, field = ASKED[name]
    for method, path in (
        ("POST", "/v1/webhooks"),
        ("PATCH", "/v1/webhooks/00000000-0000-0000-0000-000000000001"),
    ):
        if name == "missing" and method == "PATCH":
            continue
        answer = client.request(method, path, json=given)
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["field"] == field.removeprefix("webhook.")


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/v1/webhooks/default/rotate", {"overlap_hours": 721}, "overlap_hours"),
        ("/v1/webhooks/default/rotate", {"overlap_hours": -1}, "overlap_hours"),
        ("/v1/webhooks/default/replay", {}, "since"),
        ("/v1/webhooks/default/replay", {"since": "2026-01-01T00:00:00"}, "since"),
        ("/v1/webhooks/default/replay", {"since": "yesterday"}, "since"),
        ("/v1/webhooks/default/replay", {"since": "2026-01-01T00:00:00Z", "state": "due"}, "state"),
    ],
)
def test_what_else_is_asked_of_webhooks_is_refused_by_field(
    client: TestClient, path: str, body: dict[str, object], field: str
) -> None:
    answer = client.post(path, json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == field


@pytest.mark.parametrize("name", ["x", "%20", "0", "default0", "00000000"])
def test_what_is_no_id_names_nothing(client: TestClient, name: str) -> None:
    assert client.delete(f"/v1/webhooks/{name}").status_code == 404
