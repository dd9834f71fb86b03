"""Rows of the access matrix for the routes that have a prefix of their own: scope, status of one's own, body, and the path."""

from __future__ import annotations

from typing import Any

from latentfarm.api_keys import Scope

_OF_TINY = {"owner": "latentfarm", "model": "tiny"}
_WANTED = {"input": {"prompt": "x", "lane": "bulk"}}
_NONE: dict[str, str] = {}

DOOR_ROWS: dict[str, tuple[Scope | None, int, dict[str, Any] | None, dict[str, str]]] = {
    "post /replicate/v1/predictions": (Scope.SUBMIT, 201, {"model": "latentfarm/tiny", **_WANTED}, _NONE),
    "get /replicate/v1/predictions": (Scope.READ, 200, None, _NONE),
    "get /replicate/v1/predictions/{job_id}": (Scope.READ, 200, None, _NONE),
    "post /replicate/v1/predictions/{job_id}/cancel": (Scope.CANCEL, 200, None, _NONE),
    "get /replicate/v1/models": (Scope.READ, 200, None, _NONE),
    "get /replicate/v1/models/{owner}/{model}": (Scope.READ, 200, None, _OF_TINY),
    "get /replicate/v1/models/{owner}/{model}/versions": (Scope.READ, 200, None, _OF_TINY),
    "get /replicate/v1/models/{owner}/{model}/versions/{version}": (
        Scope.READ,
        404,
        None,
        {**_OF_TINY, "version": "0"},
    ),
    "post /replicate/v1/models/{owner}/{model}/predictions": (Scope.SUBMIT, 201, _WANTED, _OF_TINY),
    # The request of the test is no form.
    "post /replicate/v1/files": (Scope.SUBMIT, 415, {}, _NONE),
    "get /replicate/v1/files": (Scope.READ, 200, None, _NONE),
    "get /replicate/v1/files/{upload_id}": (Scope.READ, 200, None, _NONE),
    "delete /replicate/v1/files/{upload_id}": (Scope.SUBMIT, 204, None, _NONE),
    "get /replicate/v1/outputs/{token}/{file}": (None, 403, None, {"token": "x", "file": "out-0.png"}),
    "get /replicate/v1/webhooks/default/secret": (Scope.SUBMIT, 200, None, _NONE),
    # Without a worker it waits for as long as it may.
    "post /huggingface/models/{model}": (Scope.SUBMIT, 504, {"inputs": "x"}, {"model": "tiny"}),
}
