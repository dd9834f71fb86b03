"""Waiting until a started program says that it is ready."""

import contextlib
import subprocess
import time

from latentfarm.embedded.errors import StartError
from latentfarm.embedded.program import Program

FIRST_PAUSE, LONGEST_PAUSE, GROWTH = 0.03, 0.5, 1.3  # seconds between two questions


def await_ready(program: Program, running: subprocess.Popen[bytes]) -> None:
    """Ask until the answer is yes; without a probe, a running process is enough.

    Raises:
        StartError: when the process died, or took longer than its `start_timeout`.
    """
    deadline = time.monotonic() + program.start_timeout
    pause, last = FIRST_PAUSE, ""
    while running.poll() is None:
        answer = _ask(program)
        if answer is None:
            return
        last = answer
        if time.monotonic() > deadline:
            raise StartError(f"not ready after {program.start_timeout:.0f} s ({last})")
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.wait(pause)
        pause = min(LONGEST_PAUSE, pause * GROWTH)
    raise StartError(f"ended with {running.returncode} at its start")


def _ask(program: Program) -> str | None:
    """None for yes, else what was said instead."""
    if program.ready is None:
        return None
    try:
        return None if program.ready() else "its probe says no"
    except Exception as error:  # noqa: BLE001  each client library has errors of its own for "not yet"
        return str(error).strip() or type(error).__name__
