"""Steps that tests of refining share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx

    from latentfarm.records import Claimed
    from tests.integration.serving import Puppet

ENSEMBLE: dict[str, Any] = {"high_noise_frac": 0.6, "aesthetic_score": 7.0}
AGAIN: dict[str, Any] = {"mode": "image", "strength": 0.4, "guidance_scale": 3.0}
SPEC: dict[str, Any] = {"prompt": "a", "seed": 2**53 - 2, "num_images": 3, "num_inference_steps": 20}


def submit(http: httpx.Client, **fields: Any) -> str:
    answer = http.post("/v1/jobs", json={**SPEC, **fields})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def refine(http: httpx.Client, job: str, key: str | None = None, **body: Any) -> httpx.Response:
    headers = {} if key is None else {"Idempotency-Key": key}
    return http.post(f"/v1/jobs/{job}/refine", json=body, headers=headers)


def accepted(http: httpx.Client, job: str, **body: Any) -> dict[str, Any]:
    answer = refine(http, job, **body)
    assert answer.status_code == 202, answer.text
    found: dict[str, Any] = answer.json()
    return found


def run(puppet: Puppet) -> tuple[dict[int, bytes], dict[int, bytes]]:
    """Takes what is queued through both stages: latents and images by index."""
    base = puppet.claim()
    latents = puppet.hand_over(base)
    return latents, puppet.finish(puppet.claim())


def by_index(claimed: list[Claimed]) -> list[Claimed]:
    return sorted(claimed, key=lambda item: item.ordinal)


def problem(answer: httpx.Response) -> tuple[int, str, str]:
    found = answer.json()
    return answer.status_code, found["type"].rsplit(":", 1)[1], found["detail"]
