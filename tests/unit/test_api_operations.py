"""Metric families, readiness, the deadline, and the entry point."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from prometheus_client import CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request  # noqa: TC002 - FastAPI needs the type at run time
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from api import families
from api.deadline import LATE, PATIENCE, Deadline
from api.readiness import Readiness
from latentfarm.doctor.finding import Finding, look
from latentfarm.records import Queue
from latentfarm.states import Lane, RenderState, Stage


def worker(number: int, **fields: Any) -> dict[str, Any]:
    counters = {
        "forwards": 10,
        "rows": 60,
        "bucket_rows": 80,
        "steps": 30,
        "busy_s": 1.5,
        "full_rows": 45,
        "full_bucket_rows": 50,
        "stage_s": {"decode": 2.0},
    }
    return {
        "id": number,
        "host": "h",
        "device": "cpu",
        "stages": [0, 1],
        "assigned_models": ["tiny"],
        "ready": True,
        "lease_left_s": 12.5,
        "drained": False,
        "info": {"counters": counters},
        **fields,
    }


def text_of(*found: Any) -> str:
    class Once:
        def collect(self) -> list[Any]:
            return list(found)

    registry = CollectorRegistry()
    registry.register(Once())
    return generate_latest(registry).decode()


def test_queues_show_depth_and_window() -> None:
    known = [Queue(1, "base.tiny.bulk", Stage.BASE, "tiny", Lane.BULK, 0.25)]
    counts = [("base.tiny.bulk", RenderState.QUEUED, 7)]
    out = worker(3, lease_left_s=-1.0), worker(4, drained=True)
    shown = text_of(*families.queues(known, counts, [worker(1), worker(2), *out]))
    assert 'latentfarm_queue_depth{queue="base.tiny.bulk",state="queued"} 7.0' in shown
    assert 'latentfarm_queue_depth{queue="base.tiny.bulk",state="running"} 0.0' in shown
    assert 'latentfarm_queue_window{queue="base.tiny.bulk"} 48.0' in shown
    assert 'latentfarm_queue_wait_seconds{queue="base.tiny.bulk"} 0.25' in shown


def test_a_worker_that_holds_many_has_a_window_of_its_own() -> None:
    known = [Queue(1, "base.tiny.bulk", Stage.BASE, "tiny", Lane.BULK)]
    large = worker(2)
    large["info"] = {**large["info"], "capacity": 64}
    shown = text_of(*families.queues(known, [], [worker(1), large]))
    assert 'latentfarm_queue_window{queue="base.tiny.bulk"} 152.0' in shown


def test_workers_show_leases() -> None:
    cold = worker(2, ready=False, stages=[0], info={})
    shown = text_of(*families.leases([worker(1), cold]))
    assert 'latentfarm_workers_up{device="cpu",stage="base"} 2.0' in shown
    assert 'latentfarm_workers_ready{device="cpu",stage="base"} 1.0' in shown
    assert 'latentfarm_workers_up{device="cpu",stage="refine"} 1.0' in shown
    assert 'latentfarm_lease_left_seconds{device="cpu",host="h",worker="1"} 12.5' in shown


def test_models_show_their_loads_and_who_holds_them() -> None:
    gone = worker(3, assigned_models=["sdxl"], lease_left_s=-1.0)
    packer = worker(4, assigned_models=[""])
    shown = text_of(*families.models({"tiny": 5, "sdxl": 1}, [worker(1), worker(2), gone, packer]))
    assert 'latentfarm_model_loads_total{model="tiny"} 5.0' in shown
    assert 'latentfarm_model_workers{model="tiny"} 2.0' in shown
    assert 'latentfarm_model_workers{model="sdxl"} 0.0' in shown
    assert 'model=""' not in shown


def test_devices_at_rest_are_counted() -> None:
    assert "latentfarm_devices_resting 2.0" in text_of(families.resting(2))


def test_engines_are_summed_over_workers_alike() -> None:
    shown = text_of(*families.engines([worker(1), worker(2), worker(3, info={})]))
    labels = '{device="cpu",model="tiny",stage="base,refine"}'
    assert f"latentfarm_engine_forwards_total{labels} 20.0" in shown
    assert f"latentfarm_engine_occupied_rows_total{labels} 120.0" in shown
    assert f"latentfarm_engine_steps_total{labels} 60.0" in shown
    assert f"latentfarm_engine_occupancy{labels} 0.9" in shown
    assert (
        'latentfarm_part_seconds_total{device="cpu",model="tiny",part="decode",stage="base,refine"} 4.0'
        in shown
    )


def test_ends_are_counted_by_reason() -> None:
    assert 'latentfarm_worker_ends_total{reason="lease expired"} 3.0' in text_of(
        families.ends({"lease expired": 3})
    )


def test_a_check_that_hangs_is_reported_and_asked_once() -> None:
    release, asked = threading.Event(), []

    def hang() -> Finding:
        asked.append(1)
        release.wait(30)
        return Finding("stuck", ok=True, detail="")

    ready = Readiness({"stuck": hang, "fine": lambda: look("fine", lambda: "yes", "")}, patience_s=0.05)
    for _ in range(3):
        assert ready.ask() == [
            Finding("stuck", ok=False, detail="no answer within 0.05 s"),
            Finding("fine", ok=True, detail="yes"),
        ]
    assert len(asked) == 1
    release.set()
    ready.close()


def test_whatever_a_check_raises_is_one_line() -> None:
    def fail() -> str:
        raise RuntimeError("first line\nsecond line")

    assert look("x", fail, "do that") == Finding("x", ok=False, detail="first line", advice="do that")


def test_the_deadline_answers_for_a_thread_that_hangs() -> None:
    release = threading.Event()

    async def hang(_: object) -> PlainTextResponse:
        await run_in_threadpool(release.wait, 30)
        return PlainTextResponse("late")

    async def slow_stream(_: object) -> StreamingResponse:
        def pieces() -> Any:
            yield "begun, "
            threading.Event().wait(0.2)
            yield "ended"

        return StreamingResponse(pieces())

    app = Starlette(routes=[Route("/hang", hang), Route("/stream", slow_stream)])
    app.add_middleware(Deadline, seconds=0.1)
    with TestClient(app) as client:
        late = client.get("/hang")
        assert (late.status_code, late.headers["retry-after"]) == (503, "5")
        assert late.json()["type"] == "urn:latentfarm:problem:too_late"
        assert client.get("/stream").text == "begun, ended"
        release.set()


def test_the_deadline_lets_those_wait_who_say_so_in_time() -> None:
    async def wait(request: Request) -> PlainTextResponse:
        request.scope[PATIENCE].seconds += 30
        await run_in_threadpool(threading.Event().wait, 0.3)
        return PlainTextResponse("waited")

    app, router = FastAPI(), APIRouter(prefix="/x")
    router.add_api_route("/wait", wait, response_class=PlainTextResponse)
    app.include_router(router)
    app.add_middleware(Deadline, seconds=0.1)
    with TestClient(app) as client:
        assert client.get("/x/wait").text == "waited"


def test_a_route_that_is_late_can_know_it() -> None:
    release, known, seen = threading.Event(), threading.Event(), list[bool]()

    async def hang(request: Request) -> PlainTextResponse:
        await run_in_threadpool(release.wait, 30)
        seen.append(LATE in request.scope)
        known.set()
        return PlainTextResponse("late")

    app = Starlette(routes=[Route("/hang", hang)])
    app.add_middleware(Deadline, seconds=0.1)
    with TestClient(app) as client:
        assert client.get("/hang").status_code == 503
        release.set()
        assert known.wait(30)
    assert seen == [True]


@pytest.mark.parametrize(
    "host",
    [
        "0.0.0.0",
        *(pytest.param(host, marks=pytest.mark.long) for host in ("::", "192.168.1.5")),
        "example.com",
    ],
)
def test_the_api_is_not_opened_while_nobody_can_tell_who_has_keys(host: str) -> None:
    nowhere = "postgresql+psycopg://nobody@127.0.0.1:1/none"
    environment = {**os.environ, "LATENTFARM_API_HOST": host, "LATENTFARM_DATABASE_URL": nowhere}
    ran = subprocess.run(
        [sys.executable, "-m", "api"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 2
    assert f"LATENTFARM_API_HOST={host}: others than this machine" in ran.stderr
    assert len(ran.stderr.splitlines()) == 1


def test_a_registry_that_cannot_be_read_is_one_line() -> None:
    environment = {**os.environ, "LATENTFARM_MODELS_FILE": "/nowhere/models.toml", "LATENTFARM_API_PORT": "0"}
    ran = subprocess.run(
        [sys.executable, "-m", "api"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ran.returncode, len(ran.stderr.splitlines())) == (2, 1)
    assert "/nowhere/models.toml" in ran.stderr
