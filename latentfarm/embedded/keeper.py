"""One thread per program: start it, wait until it is ready, wait until it dies, start it again."""

import logging
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from functools import partial

from latentfarm.embedded import process
from latentfarm.embedded.board import GOOD, OVER, Board
from latentfarm.embedded.errors import StackError, StartError
from latentfarm.embedded.probe import await_ready
from latentfarm.embedded.program import Program, State, Status

_log = logging.getLogger(__name__)


class Keeper:
    """Keeps one program running. Made by the supervisor; tests take it to kill and hold a service.

    The thread forks the process and outlives it, as the parent-death signal demands.
    """

    def __init__(self, program: Program, others: Mapping[str, "Keeper"]) -> None:
        self.program = program
        self.error: str | None = None
        self._others = others
        self._board = Board()
        self._process: subprocess.Popen[bytes] | None = None
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
        return self._board.state

    @property
    def pid(self) -> int | None:
        """The running process, or None."""
        running = self._process
        return running.pid if running is not None and running.returncode is None else None

    def status(self) -> Status:
        """What a live view shows."""
        restarts = max(0, self._starts - 1)
        board = self._board
        return Status(self.name, board.state, self.pid, restarts, board.since, self._exit_code, self.error)

    def open(self) -> None:
        """Start the thread and with it the program."""
        self._thread.start()

    def wait_ready(self, timeout: float = 60.0) -> bool:
        """Wait until the program is ready (or, with `once`, done); False after `timeout` s or a failure."""
        self._board.wait(lambda: self.state in GOOD | OVER, timeout)
        return self.state in GOOD

    def send(self, number: int) -> None:
        """Signal the process, if it runs."""
        if self._process is not None:
            process.send(self._process, number)

    def kill(self) -> None:
        """Kill -9 the process and return when its death has been noticed; it is then started again."""
        victim = self._process
        if victim is not None:
            process.send(victim, signal.SIGKILL)
            self._board.wait(partial(self._has_left, victim), 10.0)

    def hold(self) -> None:
        """Stop the program in good order and keep it down until `release`."""
        self._wanted = False
        self._board.changed()
        self._stop_process()
        self._board.wait(lambda: self.state is State.HELD or self.state in OVER, 10.0)

    def release(self) -> None:
        """Let a held program start again."""
        self._wanted = True
        self._board.changed()

    def close(self) -> None:
        """Stop the program for good: its stop signal, then kill after its grace."""
        self._ending = True
        self._board.changed()
        if self._thread.is_alive():
            self._stop_process()
            self._thread.join(5.0)

    def _stop_process(self) -> None:
        """Signal until the thread has seen the death; a process may be born while we look."""
        deadline = time.monotonic() + self.program.stop_grace
        signalled: subprocess.Popen[bytes] | None = None
        while self._process is not None or self.state is State.STARTING:
            running = self._process
            if running is not None and running is not signalled:
                self._board.enter(State.STOPPING)
                process.send(running, self.program.stop_signal)
                process.send(running, signal.SIGCONT)
                signalled = running
            if time.monotonic() > deadline:
                if running is None:
                    return
                process.kill_group(running)
            self._board.wait(partial(self._has_left, running), 0.1)

    def _has_left(self, running: subprocess.Popen[bytes] | None) -> bool:
        return self._process is not running

    def _run(self) -> None:
        try:
            if self._dependencies_ready():
                self._lives()
        except (StackError, OSError) as error:
            self.error = str(error)
            self._fail()
        except Exception as error:  # noqa: BLE001  whatever went wrong, the supervisor must hear of it
            _log.exception("%s gave up", self.name)
            self.error = repr(error)
            self._fail()
        finally:
            self._end_process()
            if self.state not in OVER:
                self._board.enter(State.STOPPED)

    def _dependencies_ready(self) -> bool:
        """Wait for the programs in `after`; False when this one is ended or one of them failed."""
        for name in self.program.after:
            other = self._others[name]
            while not other.wait_ready(0.2):
                if self._ending:
                    return False
                if other.state in OVER:
                    self.error = f"{name} did not start"
                    self._fail()
                    return False
        return not self._ending

    def _lives(self) -> None:
        deaths = 0
        while self._await_wanted():
            began = time.monotonic()
            self._live()
            if self._ending or self.state in OVER:
                return
            if not self._wanted:
                continue
            backoff = self.program.backoff
            deaths = 1 if time.monotonic() - began > backoff.calm else deaths + 1
            if not self._ever_ready and deaths >= self.program.start_attempts:
                self._fail()
                return
            self._board.enter(State.PAUSING)
            self._board.wait(lambda: self._ending or not self._wanted, backoff.delay(deaths))

    def _await_wanted(self) -> bool:
        """Wait while the program is held; False when it is ended."""
        if not self._wanted and not self._ending:
            self._board.enter(State.HELD)
        self._board.wait(lambda: self._wanted or self._ending)
        return not self._ending

    def _live(self) -> None:
        """One life: prepare, start, probe, wait for the death."""
        self._board.enter(State.STARTING)
        running = self._begin()
        if running is None:
            return
        if not self.program.once:
            try:
                await_ready(self.program, running)
                self._ever_ready, self.error = True, None
                self._board.enter(State.READY, only_from=State.STARTING)
            except StartError as error:
                self.error = str(error)
                process.kill_group(running)
        self._end_process()

    def _begin(self) -> subprocess.Popen[bytes] | None:
        """Prepare and start; None when it is not wanted any more, or may work out later.

        What fails before the first success is a mistake that somebody must mend, and is raised. After
        it the cause is outside, a full disk for instance, and the next try may find it gone.
        """
        try:
            if self.program.prepare is not None:
                self.program.prepare()
            if self._ending or not self._wanted:
                return None
            self._process = process.spawn(self.program)
        except (StackError, OSError) as error:
            if not self._ever_ready:
                raise
            self.error = str(error)
            return None
        self._starts += 1
        return self._process

    def _end_process(self) -> None:
        """Wait for the death, then for what else was in the group."""
        running = self._process
        if running is None:
            return
        self._exit_code = code = running.wait()
        process.kill_group(running)
        # Before the process is let go: who waits after a kill must not see the old life's "ready".
        self._board.enter(State.PAUSING, only_from=State.READY)
        self._process = None
        if self.program.once and not self._ending:
            if code == 0:
                self._board.enter(State.DONE)
            else:
                self.error = f"ended with {code}"
                self._fail()
        self._board.changed()

    def _fail(self) -> None:
        self.error = f"{self.error}; its log ends: {process.tail(self.program.log)}"
        self._board.enter(State.FAILED)
