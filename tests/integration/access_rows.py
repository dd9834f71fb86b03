"""What each route of the API must do with each scope: a route without a row fails the access matrix."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from latentfarm.api_keys import Scope
from tests.integration.asking import BIRDS
from tests.integration.door_rows import DOOR_ROWS

HOST = "hooks.example.com"


@dataclass(frozen=True)
class Row:
    """How a route is asked; None for a scope: it is open to all.

    Attributes:
        own: the status that the tenant itself gets with the scope.
        fill: parameters of the path that are nobody's.
    """

    scope: Scope | None
    own: int
    body: dict[str, Any] | None = None
    fill: dict[str, str] = field(default_factory=dict)


ROWS = {
    "post /v1/jobs": Row(Scope.SUBMIT, 202, {"prompt": "x", "lane": "bulk"}),
    "get /v1/jobs": Row(Scope.READ, 200),
    "get /v1/jobs/{job_id}": Row(Scope.READ, 200),
    "post /v1/jobs/{job_id}/refine": Row(Scope.SUBMIT, 202, {"source": "image"}),
    "get /v1/jobs/{job_id}/events": Row(Scope.READ, 200),
    "get /v1/jobs/{job_id}/images/{index}": Row(Scope.READ, 307),
    "get /v1/jobs/{job_id}/images/{index}/attempts": Row(Scope.READ, 200),
    "post /v1/jobs/{job_id}/pause": Row(Scope.CANCEL, 200),
    "post /v1/jobs/{job_id}/resume": Row(Scope.CANCEL, 200),
    # All of its images are there.
    "post /v1/jobs/{job_id}/retry": Row(Scope.SUBMIT, 409),
    "post /v1/jobs/{job_id}/cancel": Row(Scope.CANCEL, 200),
    # The last of its job: nothing of it is to be had behind this one.
    "delete /v1/jobs/{job_id}": Row(Scope.CANCEL, 204),
    "post /v1/datasets": Row(Scope.SUBMIT, 201, BIRDS),
    "get /v1/datasets": Row(Scope.READ, 200),
    "get /v1/datasets/{name}": Row(Scope.READ, 200),
    "get /v1/datasets/{name}/failures": Row(Scope.READ, 200),
    "get /v1/datasets/{name}/files": Row(Scope.READ, 200),
    "post /v1/datasets/{name}/pause": Row(Scope.CANCEL, 200),
    "post /v1/datasets/{name}/resume": Row(Scope.CANCEL, 200),
    "post /v1/datasets/{name}/retry-failed": Row(Scope.SUBMIT, 200),
    "post /v1/datasets/{name}/cancel": Row(Scope.CANCEL, 200),
    # The last of its dataset, which is at rest by now.
    "delete /v1/datasets/{name}": Row(Scope.CANCEL, 204),
    "post /v1/uploads": Row(Scope.SUBMIT, 201, {"size": 5}),
    "get /v1/models": Row(Scope.READ, 200),
    "get /v1/models/{model}": Row(Scope.READ, 200, fill={"model": "tiny"}),
    "get /v1/plans/{plan_id}": Row(Scope.READ, 200),
    # Without a worker they wait for as long as they may; nobody edits without a picture.
    "post /v1/images/generations": Row(Scope.SUBMIT, 504, {"prompt": "x"}),
    "post /v1/images/edits": Row(Scope.SUBMIT, 400, {}),
    "post /v1/files": Row(Scope.SUBMIT, 400, {}),
    "get /v1/files": Row(Scope.READ, 200),
    "get /v1/files/{file_id}": Row(Scope.READ, 200),
    "get /v1/files/{file_id}/content": Row(Scope.READ, 200),
    "post /v1/batches": Row(Scope.SUBMIT, 400, {}),
    "get /v1/batches": Row(Scope.READ, 200),
    "get /v1/batches/{batch_id}": Row(Scope.READ, 200),
    "post /v1/batches/{batch_id}/cancel": Row(Scope.CANCEL, 200),
    "delete /v1/files/{file_id}": Row(Scope.SUBMIT, 200),
    "get /v1/tenants": Row(Scope.ADMIN, 200),
    "get /v1/tenants/{name}": Row(Scope.ADMIN, 200, fill={"name": "owner"}),
    "patch /v1/tenants/{name}": Row(Scope.ADMIN, 200, {"weight": 2}, fill={"name": "owner"}),
    "get /v1/workers": Row(Scope.ADMIN, 200),
    "post /v1/workers/drain": Row(Scope.ADMIN, 404, {"worker": "nowhere"}),
    "post /v1/workers/resume": Row(Scope.ADMIN, 404, {"worker": "nowhere"}),
    "get /v1/queues": Row(Scope.ADMIN, 200),
    "post /v1/queues/{name}/drain": Row(Scope.ADMIN, 200, fill={"name": "base.tiny.bulk"}),
    "post /v1/queues/{name}/resume": Row(Scope.ADMIN, 200, fill={"name": "base.tiny.bulk"}),
    "post /v1/keys": Row(Scope.ADMIN, 201, {"name": "made", "scopes": ["read"]}),
    "get /v1/keys": Row(Scope.ADMIN, 200),
    "post /v1/keys/{prefix}/rotate": Row(Scope.ADMIN, 201, {}),
    "delete /v1/keys/{prefix}": Row(Scope.ADMIN, 200),
    "get /v1/webhooks": Row(Scope.READ, 200),
    "post /v1/webhooks": Row(Scope.SUBMIT, 201, {"url": f"https://{HOST}/"}),
    "get /v1/webhooks/default/secret": Row(Scope.SUBMIT, 200),
    "get /v1/webhooks/{webhook_id}": Row(Scope.READ, 200),
    "patch /v1/webhooks/{webhook_id}": Row(Scope.SUBMIT, 200, {"events": ["job.failed"]}),
    "post /v1/webhooks/{webhook_id}/rotate": Row(Scope.SUBMIT, 200, {}),
    "get /v1/webhooks/{webhook_id}/deliveries": Row(Scope.READ, 200),
    "post /v1/webhooks/{webhook_id}/deliveries/{delivery_id}/replay": Row(Scope.SUBMIT, 202),
    "post /v1/webhooks/{webhook_id}/replay": Row(Scope.SUBMIT, 202, {"since": "2026-01-01T00:00:00Z"}),
    "delete /v1/webhooks/{webhook_id}": Row(Scope.SUBMIT, 204),
    "get /metrics": Row(Scope.ADMIN, 200),
    "get /healthz": Row(None, 200),
    "get /readyz": Row(None, 200),
}
ROWS |= {name: Row(*fields) for name, fields in DOOR_ROWS.items()}
