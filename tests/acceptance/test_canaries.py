"""A farm at debug level in which everything that a user says bears a mark: no log, no metric tells any of it."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from sqlalchemy import text

from latentfarm.api_keys import Scope
from latentfarm.key_ring import KeyRing
from tests.acceptance.farm import Farm, until
from tests.canaries import CANARY, hits, secrets

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from latentfarm.embedded.stack import Stack
    from latentfarm.repository.facade import Repository
    from latentfarm.storage import S3Store

SMALL: dict[str, Any] = {"num_inference_steps": 4, "width": 64, "height": 64, "seed": 3}
MARKED = f"a red circle {CANARY}"
PATIENCE_S = 300.0


@pytest.fixture
def marked(farm: Farm) -> Farm:
    """A farm with the real engine, all of whose processes tell as much as they can."""
    farm.environment |= {
        "LATENTFARM_ENGINE": "worker.assembly:load",
        "LATENTFARM_LOG_LEVEL": "DEBUG",
        "LATENTFARM_REQUIRE_KEYS": "true",
        "LATENTFARM_OPENAI_WAIT_S": "60",
    }
    farm.api()
    farm.scheduler()
    farm.worker()
    farm.worker("seal", device="packer")
    ready = "SELECT count(*) FROM workers WHERE ready AND ended_at IS NULL"
    until("both workers are warm", lambda: farm.count(ready) == 2, PATIENCE_S)
    return farm


@pytest.fixture
def http(marked: Farm, repository: Repository) -> Iterator[httpx.Client]:
    key = KeyRing(repository).create(tenant="acme", name="all", scopes=[Scope.ADMIN])[1]
    headers = {"Authorization": f"Bearer {key}", "User-Agent": CANARY, "Cookie": f"session={CANARY}"}
    with httpx.Client(base_url=marked.url, headers=headers, timeout=90) as client:
        yield client


def logs(farm: Farm, stack: Stack) -> list[Path]:
    """Of the farm's processes, and of the services."""
    return [*farm.folder.glob("*.log"), *(stack.folder.path / "logs").iterdir()]


def picture() -> bytes:
    info, file = PngInfo(), io.BytesIO()
    info.add_text("Comment", CANARY)
    image = Image.new("RGBA", (64, 64), (200, 30, 30, 255))
    image.paste((0, 0, 0, 0), (16, 16, 48, 48))
    image.save(file, "PNG", pnginfo=info)
    return file.getvalue()


def good(http: httpx.Client) -> None:
    """What is accepted, and rendered."""
    spec = SMALL | {
        "prompt": MARKED,
        "prompt_2": MARKED,
        "negative_prompt": MARKED,
        "negative_prompt_2": MARKED,
    }
    spec |= {"metadata": {f"m-{CANARY}": CANARY}, "refiner": {}}
    answer = http.post("/v1/jobs", json=spec, headers={"Idempotency-Key": CANARY, "Prefer": "wait=60"})
    assert answer.json()["state"] == "succeeded", answer.text
    job = answer.json()["id"]
    assert http.get(f"/v1/jobs/{job}/images/0", params={"proxy": 1}).status_code == 200
    assert http.get(f"/v1/jobs/{job}/images/0").status_code == 307
    assert CANARY not in http.get(f"/v1/jobs/{job}/events").text
    refined = http.post(f"/v1/jobs/{job}/refine", json={"source": "image", "prompt": f"{MARKED} again"})
    assert refined.status_code == 202, refined.text
    drawn = http.post("/v1/images/generations", json={"prompt": MARKED, "user": CANARY, "size": "64x64"})
    assert drawn.status_code == 200, drawn.text
    files = {"image": (f"{CANARY}.png", picture(), "image/png")}
    edited = http.post("/v1/images/edits", data={"prompt": MARKED, "size": "64x64"}, files=files)
    assert edited.status_code in (200, 400), edited.text


def dataset(http: httpx.Client, farm: Farm, store: S3Store) -> None:
    """One that is packed, and one whose manifest is refused by the scheduler."""
    rows = [{"id": f"{CANARY}-{n}", "prompt": f"{MARKED} {n}", "metadata": {"k": CANARY}} for n in range(4)]
    defaults = {name: value for name, value in SMALL.items() if name != "seed"}
    body = {"name": "birds", "manifest": {"rows": rows}, "defaults": {"model": "tiny", **defaults}, "seed": 1}
    answer = http.post("/v1/datasets", json=body)
    assert answer.status_code == 201, answer.text
    wrong = [{"id": CANARY, "prompt": MARKED}, {"id": CANARY, "prompt": MARKED, "sampler": CANARY, CANARY: 1}]
    store.put(f"acme/{CANARY}.jsonl", "\n".join(map(json.dumps, wrong)).encode(), "application/jsonl")
    body |= {"name": "wrong", "manifest": {"key": f"acme/{CANARY}.jsonl"}}
    assert http.post("/v1/datasets", json=body).status_code == 202
    until("it is refused", lambda: http.get("/v1/datasets/wrong").json()["state"] == "rejected")
    farm.wait_done(PATIENCE_S)


BAD: list[dict[str, Any]] = [
    {"prompt": MARKED, "sampler": CANARY},
    {"prompt": MARKED, CANARY: 1},
    {"prompt": MARKED, "model": CANARY},
    {"prompt": MARKED, "loras": [{"name": CANARY}]},
    {"prompt": MARKED, "embeddings": [CANARY]},
    {"prompt": MARKED, "image": f"https://{CANARY}:{CANARY}@example.com/"},
    {"prompt": MARKED, "image": f"https://127.0.0.1/x.png?token={CANARY}"},
    {"prompt": MARKED, "image": f"https://{CANARY}.invalid/x.png?token={CANARY}"},
    {"prompt": MARKED, "image": f"/home/{CANARY}.png"},
    {"prompt": MARKED, "image": f"data:image/png;base64,{CANARY}"},
    {"prompt": MARKED, "image": "data:image/png;base64,Y2FuYXJ5NWUxZg=="},
    {"prompt": f"({CANARY}", "prompt_weighting": "compel"},
]


def bad(http: httpx.Client, farm: Farm) -> None:
    """What is refused, in every way, or fails in the engine for what the user wrote."""
    for spec in BAD:
        assert http.post("/v1/jobs", json=spec).status_code == 422, spec
    raw = {"Content-Type": "application/json"}
    assert http.post("/v1/jobs", content=f'{{"prompt": "{CANARY}', headers=raw).status_code == 400
    assert http.post("/v1/jobs", content=CANARY, headers={"Content-Type": CANARY}).status_code == 415
    for path in (
        f"/v1/jobs/{CANARY}",
        f"/{CANARY}?x={CANARY}",
        f"/v1/models/{CANARY}",
        f"/v1/datasets/{CANARY}",
    ):
        assert http.get(path).status_code == 404, path
    assert http.get("/v1/jobs", params={"after": CANARY}).status_code == 422
    key: Any = {b"Idempotency-Key": f"{CANARY}\xe9".encode("latin-1")}
    assert http.post("/v1/jobs", json={"prompt": "a"}, headers=key).status_code == 422
    for bearer in (CANARY, f"lf_abcd1234_{CANARY:x<43}"):
        refused = http.get("/v1/jobs", headers={"Authorization": f"Bearer {bearer}"})
        assert refused.status_code == 401
    unreadable = {"prompt": f'("{CANARY}", "{CANARY} b").blend(1)', "prompt_weighting": "compel", **SMALL}
    answer = http.post("/v1/jobs", json=unreadable, headers={"Prefer": "wait=60"})
    assert answer.json()["state"] == "failed", answer.text
    farm.wait_done(PATIENCE_S)


def broken(http: httpx.Client, repository: Repository) -> None:
    """What nobody foresaw: the log gets a traceback, of statements that carry what the user said."""
    for before, after in (("specs", "specs_away"), ("renders", "renders_away")):
        repository.transact(lambda c, a=before, b=after: c.execute(text(f"ALTER TABLE {a} RENAME TO {b}")))  # type: ignore[misc]
        answer = http.post("/v1/jobs", json={"prompt": f"{MARKED} {before}"})
        repository.transact(lambda c, a=before, b=after: c.execute(text(f"ALTER TABLE {b} RENAME TO {a}")))  # type: ignore[misc]
        assert (answer.status_code, CANARY in answer.text) == (500, False)
    for table in ("specs", "idempotency"):
        # Here the database's own message quotes the row.
        check = f"ALTER TABLE {table} ADD CONSTRAINT no_more CHECK (false) NOT VALID"
        repository.transact(lambda c, sql=check: c.execute(text(sql)))  # type: ignore[misc]
        answer = http.post(
            "/v1/jobs", json={"prompt": CANARY, "seed": 8}, headers={"Idempotency-Key": f"{CANARY}-{table}"}
        )
        again = f"ALTER TABLE {table} DROP CONSTRAINT no_more"
        repository.transact(lambda c, sql=again: c.execute(text(sql)))  # type: ignore[misc]
        assert (answer.status_code, CANARY in answer.text) == (500, False)


def test_nothing_that_a_user_says_is_told_by_logs_and_metrics(
    marked: Farm, http: httpx.Client, repository: Repository, store: S3Store, stack: Stack
) -> None:
    good(http)
    dataset(http, marked, store)
    bad(http, marked)
    broken(http, repository)
    assert CANARY not in http.get("/metrics").text
    written = logs(marked, stack)
    assert sum(log.stat().st_size for log in written) > 5_000
    assert hits(written, [CANARY, *secrets(marked.environment)]) == []
    # The same eyes see what is there.
    assert hits(written, ["manifest_refused"])
    assert hits(written, ["request_failed"])
    assert hits(written, ["render_failed"])
