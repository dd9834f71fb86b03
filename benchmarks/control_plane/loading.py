"""A farm without a device: its settings, its jobs, and when they have ended."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx
    import psycopg

MODELS = Path(__file__).resolve().parents[2] / "models"
POLL_S = 0.02
LIMIT_S = 600.0
MOST = 1000
"""Images of one job, at most."""
BOTH = {"refiner": {"mode": "ensemble", "high_noise_frac": 0.8}}


def settings(folder: Path, *, rows: int = 8, step_s: float = 0.0, batch: int = 0) -> dict[str, str]:
    """Settings of a farm whose engine does no work.

    Args:
        folder: for its list of models.
        rows: of the device: so many renders a worker holds at once.
        step_s: what a step takes, for `batch` renders together.
        batch: of them in a step; 0: all.
    """
    folder.mkdir(parents=True, exist_ok=True)
    registry = folder / "models.toml"
    tiny = MODELS / "tiny"
    registry.write_text(
        f'[models.tiny]\nbase = "{tiny / "base"}"\nrefiner = "{tiny / "refiner"}"\nbucket = {rows}\n'
        'sampler = "euler"\nnative_size = [128, 128]\nmin_size = 64\nmax_size = 256\n'
    )
    return {
        "LATENTFARM_ENGINE": "benchmarks.control_plane.idle_engine:load",
        "LATENTFARM_MODELS_FILE": str(registry),
        "IDLE_STEP_S": str(step_s),
        "IDLE_BATCH": str(batch),
    }


def spec(count: int, **fields: Any) -> dict[str, Any]:
    """A job of so many images, as a client sends it."""
    plain = {"model": "tiny", "prompt": "a red circle", "width": 64, "height": 64, "num_inference_steps": 20}
    return {**plain, "num_images": count, "lane": "bulk", **fields}


def submit(client: httpx.Client, count: int, **fields: Any) -> list[str]:
    """Hands in renders, as many to a job as one may have; returns the ids of the jobs."""
    jobs = []
    for start in range(0, count, MOST):
        answer = client.post("/v1/jobs", json=spec(min(MOST, count - start), seed=start, **fields))
        answer.raise_for_status()
        jobs.append(answer.json()["id"])
    return jobs


def wait_until_ended(connection: psycopg.Connection[Any]) -> None:
    """Returns once no job is open.

    Raises:
        TimeoutError: after 10 minutes.
    """
    until = time.monotonic() + LIMIT_S
    while time.monotonic() < until:
        if connection.execute("SELECT FROM jobs WHERE finished_at IS NULL LIMIT 1").fetchone() is None:
            return
        time.sleep(POLL_S)
    raise TimeoutError(f"jobs were still open after {LIMIT_S:g} s")


def rate(client: httpx.Client, connection: psycopg.Connection[Any], count: int, **fields: Any) -> float:
    """Renders per second, from the first call that hands in to the end of the last job."""
    began = time.perf_counter()
    submit(client, count, **fields)
    wait_until_ended(connection)
    return count / (time.perf_counter() - began)
