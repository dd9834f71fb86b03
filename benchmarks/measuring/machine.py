"""What was measured on: without it no absolute figure means anything."""

from __future__ import annotations

import os
import platform
import statistics
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    import psycopg

PARTS = ("torch", "diffusers", "transformers", "celery", "redis", "sqlalchemy", "psycopg", "boto3", "pillow")
COMMITS = 100


def machine() -> dict[str, Any]:
    """Processor, memory, and the versions of what the farm stands on."""
    return {
        "processor": f"{os.cpu_count()} cores, {_processor()}",
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}, Python {sys.version.split()[0]}",
        "versions": ", ".join(f"{part} {version(part)}" for part in PARTS),
    }


def commit_ms(connection: psycopg.Connection[Any]) -> float:
    """Median milliseconds of a transaction that inserts one row, on a connection where each statement commits.

    Raises:
        RuntimeError: the server does not wait for its disk.
    """
    for name in ("fsync", "synchronous_commit"):
        row = connection.execute(f"SHOW {name}").fetchone()
        if row is None or row[0] != "on":
            raise RuntimeError(f"{name} is off: nothing measured here would hold")
    connection.execute("CREATE TABLE IF NOT EXISTS commit_probe (n int)")
    taken = []
    for number in range(COMMITS):
        began = time.perf_counter()
        connection.execute("INSERT INTO commit_probe VALUES (%s)", (number,))
        taken.append(time.perf_counter() - began)
    connection.execute("DROP TABLE commit_probe")
    return 1000 * statistics.median(taken)


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
