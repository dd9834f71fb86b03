"""The step between the supervisor and a program: become the user, tie the life to the parent, exec.

Run as a plain script, so it imports the standard library only and starts in about 15 ms. It exists
because Python between fork and exec is not safe in a process with threads, and because the order
matters: the kernel forgets the parent-death signal at a change of uid.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int, death_signal: int = signal.SIGKILL) -> bool:
    """Ask the kernel to signal this process when the thread that started it ends (Linux only).

    Called by the process about itself, after any change of uid, which would clear it. Workers call it too.

    Args:
        parent: pid of the parent as it was at the fork.

    Returns:
        False when the parent was gone before the kernel was asked: no signal will come, so exit.

    Raises:
        OSError: if the kernel refuses.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
    return os.getppid() == parent


def arguments(
    command: tuple[str, ...], *, uid: int | None, gid: int | None, death_signal: int
) -> tuple[str, ...]:
    """The argument vector that runs `command` through this script as a child of this process."""
    who = ("-1", "-1") if uid is None or gid is None else (str(uid), str(gid))
    # -I -S: nothing of the environment or of site-packages may come into a process that is root yet.
    shim = (sys.executable, "-I", "-S", os.path.abspath(__file__))  # noqa: PTH100  pathlib costs 10 ms here
    return (*shim, str(os.getpid()), *who, str(int(death_signal)), *command)


def _found(program: str) -> str:
    """The program's path; one without a slash is looked for on the PATH."""
    if "/" in program:
        return program
    folders = os.environ.get("PATH", os.defpath).split(":")
    paths = [f"{folder}/{program}" for folder in folders]
    return next((path for path in paths if os.access(path, os.X_OK)), program)


def main(argv: list[str]) -> int:
    """Exec `argv[4:]`; returns only on failure. 127: not started; 0: the parent was gone already."""
    parent, uid, gid, death_signal = (int(value) for value in argv[:4])
    command = argv[4:]
    # Before the change of user: Python may lie where that user cannot read, so from then on nothing
    # may be imported, and the search of os.execvp imports.
    program = _found(command[0])
    try:
        if uid >= 0:
            os.setgroups([])
            os.setgid(gid)
            os.setuid(uid)
        if not die_with_parent(parent, death_signal):
            return 0
        os.execv(program, command)  # noqa: S606  to become another program is what this is for
    except OSError as error:
        sys.stderr.write(f"cannot start {command[0]}: {error}\n")
    return 127


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
