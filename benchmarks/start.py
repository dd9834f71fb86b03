"""How long a worker takes to be ready, against a script that loads the same: `python -m benchmarks start`."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measuring.farm import ROOT, farm
from benchmarks.measuring.machine import machine
from benchmarks.measuring.outcome import Outcome
from benchmarks.measuring.processor import spent_s
from benchmarks.measuring.turns import Spread, ratio, take_turns
from latentfarm.states import Stage

if TYPE_CHECKING:
    from benchmarks.measuring.farm import Running

MOST = 1.3
PATIENCE_S = 300.0
_POLL_S = 0.02
# The farm's own worker, which packs shards, is ready from the first.
_READY = f"SELECT 1 FROM workers WHERE ended_at IS NULL AND ready AND {int(Stage.BASE)} = ANY (stages)"  # noqa: S608 - no input in it
ASKED = (
    "`python -m worker` until SQL says that it is ready for base and refiner of the tiny model, against a script that"
    " imports diffusers and loads both pipelines in float32. Files are in the page cache in both arms."
)


class Starts:
    """Starts one or the other, and stops it.

    Attributes:
        processor: seconds of the processor until it was ready, by arm, one for each time.
    """

    def __init__(self, running: Running) -> None:
        self._running = running
        # Compiled modules are kept, as they are wherever nobody forbids it: libraries come with theirs.
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        self._environment = {**kept, **running.environment}
        self.processor: dict[str, list[float]] = {"worker": [], "script": []}

    def worker(self) -> float:
        """Seconds until a worker is ready.

        Raises:
            RuntimeError: one is ready before it is started, or does not become so.
        """
        with self._running.connect() as database:
            if database.execute(_READY).fetchone() is not None:
                raise RuntimeError("another worker is ready already")
            began = time.perf_counter()
            process = self._start("worker", "--stages", "base,refine", "--devices", "cpu")
            try:
                while database.execute(_READY).fetchone() is None:
                    if process.poll() is not None or time.perf_counter() - began > PATIENCE_S:
                        raise RuntimeError("the worker did not become ready")
                    time.sleep(_POLL_S)
                took = time.perf_counter() - began
                self.processor["worker"].append(spent_s([process.pid]))
            finally:
                process.terminate()
                process.wait()
        return took

    def script(self) -> float:
        """Seconds until the script says that it has both pipelines."""
        began = time.perf_counter()
        process = self._start("benchmarks.rendering.bare", str(ROOT / "models" / "tiny"))
        said = process.stdout.readline() if process.stdout else b""
        took = time.perf_counter() - began
        self.processor["script"].append(spent_s([process.pid]))
        process.wait()
        if said != b"ready\n":
            raise RuntimeError("the script did not load")
        return took

    def _start(self, *module: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", *module]
        return subprocess.Popen(
            command, cwd=ROOT, env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )


def main(argv: list[str]) -> int:
    """Measures; 1 when a bound is not met."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks start", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print nothing but the last line")
    parser.add_argument("--write", action="store_true", help="put the section into docs/benchmarks.md")
    options = parser.parse_args(argv)
    outcome = Outcome("start", ASKED, figures=machine())
    settings = {"LATENTFARM_MODELS": "tiny"}
    with (
        tempfile.TemporaryDirectory(prefix="start-") as folder,
        farm(Path(folder), settings, workers=()) as running,
    ):
        measure(outcome, running, options.rounds)
    if options.write:
        outcome.write()
    if not options.json:
        sys.stdout.write(outcome.as_text() + "\n")
    sys.stdout.write(outcome.as_json() + "\n")
    return 0 if outcome.is_met else 1


def measure(outcome: Outcome, running: Running, rounds: int) -> None:
    """Takes turns; a round before them brings the files into memory."""
    starts = Starts(running)
    outcome.figures["load of the machine before"] = os.getloadavg()[0]
    took = take_turns({"worker": starts.worker, "script": starts.script}, rounds, warm=1)
    for name, seconds in took.items():
        outcome.figures[f"{name}: seconds"] = Spread.of(seconds)
        outcome.figures[f"{name}: processor seconds"] = Spread.of(starts.processor[name][1:])
    outcome.most("worker, times script", ratio(took["worker"], took["script"]), MOST)
