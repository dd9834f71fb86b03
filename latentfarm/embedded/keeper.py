"""One thread per program: start it, wait until it is ready, wait until it dies, start it again."""

import contextlib
import logging
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial

from latentfarm.embedded import process
from latentfarm.embedded.program import Program, State, Status

PROBE_PAUSE = 0.03  # seconds between two probes, at first
PROBE_PAUSE_LONGEST = 0.5

_log = logging.getLogger(__name__)


class Keeper:
    """Keeps one program running. Made by the supervisor; tests take it to kill and hold a service.

    The thread forks the process and outlives it, as the parent-death signal demands.
    """

    def __init__(self, program: Program, others: Mapping[str, "Keeper"]) -> None:
        self.program = program
        self.error: str | None = None
        self._others = others
        self._change = threading.Condition()
        self._process: subprocess.Popen[bytes] | None = None
        self._state = State.WAITING
        self._since = time.time()
        self._starts = 0
        self._exit_code: int | None = None
        self._wanted = True
        self._ending = False
        self._ever_ready = False
        self._thread = threading.Thread(target=self._run, name=f"keeper-{program.name}", daemon=True)

    @property
    def name(self) -> str:
        """The program's name."""
        return self.program.name

    @property
    def state(self) -> State:
        """Where the program is in its life now."""
        return self._state

    @property
    def pid(self) -> int | None:
        """The running process, or None."""
        running = self._process
        return running.pid if running is not None and running.returncode is None else None

    def status(self) -> Status:
        """What a live view shows."""
        restarts = max(0, self._starts - 1)
        return Status(self.name, self._state, self.pid, restarts, self._since, self._exit_code)

    def open(self) -> None:
        """Start the thread and with it the program."""
        self._thread.start()

    def wait_ready(self, timeout: float = 60.0) -> bool:
        """Wait until the program is ready (or, with `once`, done); False after `timeout` s or a failure."""
        return self._wait(lambda: self._state in _GOOD or self._state in _OVER, timeout) and (
            self._state in _GOOD
        )

    def send(self, number: int) -> None:
        """Signal the process, if it runs."""
        if self._process is not None:
            process.send(self._process, number)

    def kill(self) -> None:
        """Kill -9 the process and return when its death has been noticed; it is then started again."""
        victim = self._process
        if victim is not None:
            process.send(victim, signal.SIGKILL)
            self._wait(partial(self._has_left, victim), 10.0)

    def hold(self) -> None:
        """Stop the program in good order and keep it down until `release`."""
        with self._change:
            self._wanted = False
            self._change.notify_all()
        self._stop_process()
        self._wait(lambda: self._state is State.HELD or self._state in _OVER, 10.0)

    def release(self) -> None:
        """Let a held program start again."""
        with self._change:
            self._wanted = True
            self._change.notify_all()

    def close(self) -> None:
        """Stop the program for good: its stop signal, then kill after its grace."""
        with self._change:
            self._ending = True
            self._change.notify_all()
        if not self._thread.is_alive():
            return
        self._stop_process()
        self._thread.join(5.0)

    def _stop_process(self) -> None:
        """Signal until the thread has seen the death; a process may be born while we look."""
        deadline = time.monotonic() + self.program.stop_grace
        signalled: subprocess.Popen[bytes] | None = None
        while self._process is not None or self._state is State.STARTING:
            running = self._process
            if running is not None and running is not signalled:
                self._enter(State.STOPPING)
                process.send(running, self.program.stop_signal)
                process.send(running, signal.SIGCONT)
                signalled = running
            if time.monotonic() > deadline and running is not None:
                process.kill_group(running)
            self._wait(partial(self._has_left, running), 0.1)

    def _has_left(self, running: subprocess.Popen[bytes] | None) -> bool:
        return self._process is not running

    def _run(self) -> None:
        try:
            if self._dependencies_ready():
                self._lives()
        except Exception as error:  # noqa: BLE001  whatever went wrong, the supervisor must hear of it
            _log.exception("%s gave up", self.name)
            self._fail(str(error))
        finally:
            self._end_process()
            if self._state not in _OVER:
                self._enter(State.STOPPED)

    def _dependencies_ready(self) -> bool:
        """Wait for the programs in `after`; False when this one is ended or one of them failed."""
        for name in self.program.after:
            other = self._others[name]
            while not other.wait_ready(0.2):
                if self._ending:
                    return False
                if other.state in _OVER:
                    self._fail(f"{name} did not start")
                    return False
        return not self._ending

    def _lives(self) -> None:
        deaths = 0
        while self._await_wanted():
            began = time.monotonic()
            self._live()
            if self._ending or self.program.once:
                return
            if not self._wanted:
                continue
            deaths = 1 if time.monotonic() - began > self.program.backoff.calm else deaths + 1
            if not self._ever_ready and deaths >= self.program.start_attempts:
                self._fail(f"died {deaths} times at its start")
                return
            self._enter(State.PAUSING)
            self._wait(lambda: self._ending or not self._wanted, self.program.backoff.delay(deaths))

    def _await_wanted(self) -> bool:
        """Wait while the program is held; False when it is ended."""
        if not self._wanted and not self._ending:
            self._enter(State.HELD)
        self._wait(lambda: self._wanted or self._ending, None)
        return not self._ending

    def _live(self) -> None:
        """One life: prepare, start, probe, wait for the death."""
        self._enter(State.STARTING)
        if self.program.prepare is not None:
            self.program.prepare()
        if self._ending or not self._wanted:
            return
        self._starts += 1
        self._process = running = process.spawn(self.program)
        if not self.program.once and self._probe(running):
            self._ever_ready, self.error = True, None
            if self._state is State.STARTING:
                self._enter(State.READY)
        self._end_process()

    def _probe(self, running: subprocess.Popen[bytes]) -> bool:
        """Ask until the program says that it is ready; False when it died or took too long."""
        deadline = time.monotonic() + self.program.start_timeout
        pause = PROBE_PAUSE
        while running.poll() is None:
            if self.program.ready is None or self._says_ready(self.program.ready):
                return running.poll() is None
            if time.monotonic() > deadline:
                self.error = f"not ready after {self.program.start_timeout:.0f} s"
                process.kill_group(running)
                return False
            with contextlib.suppress(subprocess.TimeoutExpired):
                running.wait(pause)
            pause = min(PROBE_PAUSE_LONGEST, pause * 1.3)
        return False

    def _says_ready(self, ready: Callable[[], bool]) -> bool:
        try:
            return ready()
        except Exception as error:  # noqa: BLE001  each client library has errors of its own for "not yet"
            self.error = str(error)
            return False

    def _end_process(self) -> None:
        """Wait for the death, then for what else was in the group."""
        running = self._process
        if running is None:
            return
        code = running.wait()
        process.kill_group(running)
        with self._change:
            self._exit_code = code
            self._process = None
            if self._state is State.READY:
                # At once, so that whoever waits after a kill does not see the old life's "ready".
                self._state, self._since = State.PAUSING, time.time()
            self._change.notify_all()
        if self.program.once and not self._ending:
            if code == 0:
                self._enter(State.DONE)
            else:
                self._fail(f"ended with {code}")

    def _fail(self, reason: str) -> None:
        said = process.tail(self.program.log)
        last = f"; last error: {self.error}" if self.error else ""
        self.error = f"{reason}{last}; its log ends: {said}"
        self._enter(State.FAILED)

    def _enter(self, state: State) -> None:
        with self._change:
            if state is not self._state:
                self._state, self._since = state, time.time()
            self._change.notify_all()

    def _wait(self, condition: Callable[[], bool], timeout: float | None) -> bool:
        with self._change:
            return self._change.wait_for(condition, timeout)


_GOOD = frozenset({State.READY, State.DONE})
_OVER = frozenset({State.STOPPED, State.DONE, State.FAILED})
