"""Starting one process through the launch step, and ending it together with its process group."""

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from latentfarm.embedded import launch
from latentfarm.embedded.errors import StackError
from latentfarm.embedded.program import Identity, Program

LOG_LIMIT = 16 * 1024 * 1024  # bytes; one older log is kept beside it


def spawn(program: Program) -> subprocess.Popen[bytes]:
    """Start the program in a process group of its own.

    The calling thread must live as long as the process: its end is what the kernel calls the
    parent's death.
    """
    with _appended(program.log) as log:
        return subprocess.Popen(
            _argv(program.argv, program.identity, program.death_signal),
            cwd=program.cwd,
            env=dict(program.env),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            process_group=0,
        )


def run(
    argv: tuple[str, ...],
    *,
    cwd: Path,
    env: Mapping[str, str],
    identity: Identity | None = None,
    timeout: float = 120.0,
) -> str:
    """Run a command to its end, as another user where asked, and return what it said.

    Raises:
        StackError: if it fails or takes longer than `timeout` seconds.
    """
    try:
        done = subprocess.run(
            _argv(argv, identity, signal.SIGKILL),
            cwd=cwd,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise StackError(f"{argv[0]} took longer than {timeout:.0f} s") from error
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise StackError(f"{Path(argv[0]).name} failed ({done.returncode}): {' | '.join(said[-4:])}")
    return done.stdout


def send(process: subprocess.Popen[bytes], number: int) -> None:
    """Signal the process itself; a process that is gone is no error."""
    if process.returncode is None:
        try:
            os.kill(process.pid, number)
        except ProcessLookupError:
            return


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of the process and its group."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        # macOS says EPERM for a group of zombies.
        return


def tail(log: Path, lines: int = 8) -> str:
    """The last lines of a log, joined for one message."""
    try:
        with log.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 8192))
            text = file.read().decode(errors="replace")
    except OSError:
        return "(no log)"
    return " | ".join(line.strip() for line in text.splitlines()[-lines:] if line.strip())


def _argv(command: tuple[str, ...], identity: Identity | None, death_signal: int) -> tuple[str, ...]:
    uid, gid = (identity.uid, identity.gid) if identity else (None, None)
    return launch.arguments(command, uid=uid, gid=gid, death_signal=death_signal)


@contextmanager
def _appended(log: Path) -> Iterator[int]:
    """A descriptor at the end of the log; a log over the limit is set aside first."""
    if log.exists() and log.stat().st_size > LOG_LIMIT:
        log.replace(log.with_name(log.name + ".1"))
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
