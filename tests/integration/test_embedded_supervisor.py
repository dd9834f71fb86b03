"""The supervisor with small shell programs: order, restarts, stops, and what it leaves behind."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from latentfarm.embedded.errors import StackError, StartError
from latentfarm.embedded.program import Backoff, Program, State
from latentfarm.embedded.supervisor import Supervisor

QUICK = Backoff(first=0.01, longest=0.05)
SLEEP = "exec sleep 1000"


@pytest.fixture
def supervisor():
    with Supervisor() as running:
        yield running


@pytest.fixture
def shell(tmp_path):
    def program(name: str, script: str, **more) -> Program:
        told = {"env": {"PATH": os.defpath}, "cwd": tmp_path, "backoff": QUICK, **more}
        return Program(name=name, argv=("sh", "-c", script), log=tmp_path / f"{name}.log", **told)

    return program


def wait_until(condition, seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.01)


def lives(process: psutil.Process) -> bool:
    """A zombie that its adopter has not collected is dead."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_a_program_that_dies_is_started_again(supervisor, shell):
    supervisor.add(shell("a", SLEEP))
    supervisor.wait_ready()
    first = supervisor["a"].pid
    supervisor["a"].kill()
    supervisor.wait_ready()
    (status,) = supervisor.snapshot()
    assert status.pid not in {first, None}
    assert (status.state, status.restarts, status.exit_code) == (State.READY, 1, -signal.SIGKILL)


def test_ready_means_that_the_probe_has_said_so(supervisor, shell, tmp_path):
    supervisor.add(shell("a", f"sleep 0.3; touch up; {SLEEP}", ready=(tmp_path / "up").exists))
    supervisor.wait_ready()
    assert (tmp_path / "up").exists()


def test_a_probe_that_raises_means_not_yet(supervisor, shell, tmp_path):
    def ready() -> bool:
        return bool((tmp_path / "up").read_text() == "yes")

    supervisor.add(shell("a", f"sleep 0.1; printf yes > up; {SLEEP}", ready=ready))
    supervisor.wait_ready()
    assert supervisor.snapshot()[0].error is None


def test_a_program_starts_after_those_that_it_needs(supervisor, shell, tmp_path):
    supervisor.add(
        shell("last", f"ls >> order; {SLEEP}", after=("first", "step")),
        shell("first", f"sleep 0.2; touch up; {SLEEP}", ready=(tmp_path / "up").exists),
        shell("step", "sleep 0.3; touch stepped", once=True),
    )
    supervisor.wait_ready()
    wait_until((tmp_path / "order").exists)
    wait_until(lambda: "up" in (tmp_path / "order").read_text())
    assert {"up", "stepped"} <= set((tmp_path / "order").read_text().split())
    assert supervisor["step"].state is State.DONE


def test_a_program_that_never_starts_is_given_up_with_its_last_words(supervisor, shell):
    supervisor.add(shell("a", "echo no such table; exit 3", ready=lambda: False, start_attempts=2))
    with pytest.raises(StartError, match=r"a did not become ready.*ended with 3.*no such table"):
        supervisor.wait_ready()
    assert supervisor.snapshot()[0].restarts == 1


def test_a_step_that_fails_takes_those_after_it_along(supervisor, shell):
    supervisor.add(shell("step", "echo broken; exit 1", once=True), shell("b", SLEEP, after=("step",)))
    with pytest.raises(StartError, match=r"ended with 1.*broken"):
        supervisor.wait_ready(["step"])
    with pytest.raises(StartError, match="step did not start"):
        supervisor.wait_ready(["b"])


@pytest.mark.parametrize("error", [StackError("the disk is full"), OSError("the disk is full")])
def test_a_prepare_that_fails_at_first_is_told_in_one_line(supervisor, shell, caplog, error):
    supervisor.add(shell("a", SLEEP, prepare=failing(error)))
    with pytest.raises(StartError, match="the disk is full"):
        supervisor.wait_ready()
    assert not caplog.records


def test_a_fault_of_ours_is_told_with_its_traceback(supervisor, shell, caplog):
    supervisor.add(shell("a", SLEEP, prepare=failing(KeyError("oops"))))
    with pytest.raises(StartError, match="oops"):
        supervisor.wait_ready()
    assert "a gave up" in caplog.text


def failing(error: Exception):
    def prepare() -> None:
        raise error

    return prepare


def test_a_prepare_that_fails_later_is_tried_again(supervisor, shell, tmp_path):
    def prepare() -> None:
        if (tmp_path / "full").exists():
            raise OSError(28, "the disk is full")

    supervisor.add(shell("a", SLEEP, prepare=prepare))
    supervisor.wait_ready()
    (tmp_path / "full").touch()
    supervisor["a"].kill()
    wait_until(lambda: "the disk is full" in str(supervisor.snapshot()[0].error))
    assert supervisor["a"].state is not State.FAILED
    (tmp_path / "full").unlink()
    assert supervisor["a"].wait_ready(10)


def test_a_program_that_is_not_ready_in_time_is_killed(supervisor, shell):
    supervisor.add(shell("a", SLEEP, ready=lambda: False, start_timeout=0.1, start_attempts=1))
    with pytest.raises(StartError, match=r"not ready after.*its probe says no"):
        supervisor.wait_ready()
    assert supervisor["a"].pid is None


def test_stops_in_the_reverse_order_of_needs(supervisor, shell, tmp_path):
    script = 'trap "date +%s%N > {0}; exit 0" TERM; touch {0}.up; while :; do sleep 0.01; done'
    for name, after in (("a", ()), ("b", ("a",)), ("c", ("b",))):
        ready = (tmp_path / f"{name}.up").exists
        supervisor.add(shell(name, script.format(name), after=after, ready=ready))
    supervisor.wait_ready()
    supervisor.stop()
    ends = {name: int((tmp_path / name).read_text()) for name in "abc"}
    assert ends["c"] < ends["b"] < ends["a"]
    assert {status.state for status in supervisor.snapshot()} == {State.STOPPED}


def test_a_program_that_ignores_its_stop_signal_is_killed_with_its_group(supervisor, shell, tmp_path):
    script = 'trap "" TERM; sleep 1000 & echo $! > child; while :; do sleep 0.01; done'
    supervisor.add(shell("a", script, stop_grace=0.2, ready=(tmp_path / "child").exists))
    supervisor.wait_ready()
    wait_until(lambda: (tmp_path / "child").read_text().endswith("\n"))
    child = psutil.Process(int((tmp_path / "child").read_text()))
    supervisor.stop()
    assert supervisor.snapshot()[0].exit_code == -signal.SIGKILL
    wait_until(lambda: not lives(child))


def test_a_frozen_program_is_stopped_too(supervisor, shell, tmp_path):
    # With a handler, as servers have: without one Linux lets the signal end a frozen process.
    script = 'trap "exit 0" TERM; touch up; while :; do sleep 0.01; done'
    supervisor.add(shell("a", script, ready=(tmp_path / "up").exists, stop_grace=30))
    supervisor.wait_ready()
    supervisor["a"].send(signal.SIGSTOP)
    began = time.monotonic()
    supervisor.stop()
    assert time.monotonic() - began < 5


def test_stop_ends_a_program_that_is_waiting_for_its_next_start(supervisor, shell):
    supervisor.add(shell("a", SLEEP, backoff=Backoff(first=60, longest=60)))
    supervisor.wait_ready()
    supervisor["a"].kill()
    began = time.monotonic()
    supervisor.stop()
    assert time.monotonic() - began < 10


def test_stop_ends_a_program_that_waits_for_another(supervisor, shell):
    supervisor.add(shell("a", SLEEP, ready=lambda: False), shell("b", SLEEP, after=("a",)))
    wait_until(lambda: supervisor["a"].pid is not None)
    supervisor.stop()
    assert [status.state for status in supervisor.snapshot()] == [State.STOPPED] * 2


def test_a_held_program_stays_down_until_it_is_released(supervisor, shell):
    supervisor.add(shell("a", SLEEP))
    supervisor.wait_ready()
    supervisor["a"].hold()
    assert (supervisor["a"].state, supervisor["a"].pid) == (State.HELD, None)
    assert not supervisor["a"].wait_ready(0.3)
    supervisor["a"].release()
    assert supervisor["a"].wait_ready(10)


def test_the_environment_is_what_was_told_and_nothing_more(supervisor, shell, tmp_path):
    supervisor.add(shell("a", "env > seen", once=True, env={"PATH": os.defpath, "LATENTFARM_X": "1"}))
    supervisor.wait_ready()
    names = {line.split("=")[0] for line in (tmp_path / "seen").read_text().splitlines()}
    assert names - {"PWD", "SHLVL", "_", "OLDPWD", "LC_CTYPE"} == {"PATH", "LATENTFARM_X"}


ORPHANS = """
    import os, sys, time
    from pathlib import Path
    from latentfarm.embedded.program import Identity, Program
    from latentfarm.embedded.supervisor import Supervisor

    who = Identity(65534, 65534) if os.geteuid() == 0 else None
    running = Supervisor()
    for name in ("own", "other"):
        running.add(Program(name=name, argv=("sleep", "1000"), log=Path(sys.argv[1]) / name,
            env={"PATH": os.defpath}, cwd=Path("/"), identity=who if name == "other" else None))
    running.wait_ready()
    print("ready", flush=True)
    time.sleep(1000)
"""


@pytest.fixture
def orphans(tmp_path):
    """A supervisor in a process of its own, and its two programs."""
    command = [sys.executable, "-c", textwrap.dedent(ORPHANS), tmp_path]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])
    try:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"ready\n"
        yield parent
    finally:
        parent.kill()
        parent.communicate()


@pytest.mark.skipif(sys.platform != "linux", reason="the parent-death signal is Linux's")
def test_nothing_survives_kill_minus_9_of_the_supervisor(orphans):
    children = psutil.Process(orphans.pid).children()
    wait_until(lambda: [child.name() for child in children] == ["sleep", "sleep"])
    if os.geteuid() == 0:
        assert sorted(child.uids().real for child in children) == [0, 65534]
    orphans.kill()
    wait_until(lambda: not any(lives(child) for child in children), 3)
