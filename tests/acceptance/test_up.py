"""`latentfarm up`: a whole farm from one command, and nothing left of it afterwards."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil
import pytest

from latentfarm import Client, RefinerSpec, RenderSpec
from tests.acceptance.farm import ROOT, family, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.clock


@pytest.fixture
def up(
    tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """A farm with the real engine unless a test gives other variables, and its settings."""
    command = [sys.executable, "-m", "latentfarm.cli.app", "up", "--json", "--folder", str(tmp_path / "farm")]
    process = subprocess.Popen(
        [*command, "--port", "0", "--devices", "cpu"],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", **getattr(request, "param", {})},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    text = ""
    while not text.rstrip().endswith("}"):
        line = process.stdout.readline()
        assert line, f"it ended with {process.wait()}"
        text += line
    yield process, json.loads(text)
    process.kill()
    process.wait()
    process.stdout.close()


def members(process: subprocess.Popen[str]) -> list[psutil.Process]:
    found = family(process.pid)
    # Supervisor, three services, API, scheduler, a worker and its child.
    assert len(found) >= 8
    return found


def gone(processes: list[psutil.Process]) -> bool:
    return not [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def test_it_renders_and_stops_without_a_trace(up: tuple[subprocess.Popen[str], dict[str, str]]) -> None:
    process, settings = up
    with Client(settings["LATENTFARM_API_URL"]) as client:
        spec = RenderSpec(
            prompt="a red circle", num_inference_steps=4, refiner=RefinerSpec(high_noise_frac=0.5)
        )
        job = client.wait(client.submit(spec), timeout=60)
        assert job.state == "succeeded"
        assert client.image(job)[:8] == b"\x89PNG\r\n\x1a\n"
    running = members(process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    assert gone(running)


@pytest.mark.parametrize(
    "up", [{"LATENTFARM_ENGINE": "tests.synthetic:load"}], indirect=True, ids=["synthetic"]
)
def test_nothing_outlives_a_killed_supervisor(up: tuple[subprocess.Popen[str], dict[str, str]]) -> None:
    process, _ = up
    running = members(process)
    process.kill()
    process.wait()
    until("every process is gone", lambda: gone(running), 15)
