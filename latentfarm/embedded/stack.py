"""The three services of a farm on one machine, as one thing to start and stop."""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from latentfarm.embedded import binaries, identity
from latentfarm.embedded.folder import Folder
from latentfarm.embedded.keeper import Keeper
from latentfarm.embedded.ports import Ports
from latentfarm.embedded.postgres import Postgres
from latentfarm.embedded.program import Identity
from latentfarm.embedded.seaweed import PARTS, REGION, Seaweed
from latentfarm.embedded.supervisor import Supervisor
from latentfarm.embedded.valkey import Valkey

BUCKET = "latentfarm"


class Stack:
    """PostgreSQL, Valkey and SeaweedFS in one folder; what is in them is there at the next start.

    `supervisor` is at hand for further programs; `stop` ends those first that come after the services. `ports` are
    this stack's and theirs.
    """

    def __init__(self, folder: Path, supervisor: Supervisor | None = None) -> None:
        self.folder = Folder(folder)
        self.supervisor = supervisor or Supervisor()
        self.ports = Ports()
        self._environment: dict[str, str] = {}
        self._copy: Path | None = None
        self._store: Seaweed | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def services(self) -> Mapping[str, Keeper]:
        """The keepers of `postgres`, `redis` and `s3`, once started."""
        return {name: self.supervisor[name] for name in ("postgres", "redis", "s3")}

    def environment(self) -> dict[str, str]:
        """The settings that lead a service to this stack; empty before `start`."""
        return dict(self._environment)

    def start(self) -> None:
        """Start all three and return when each has answered a real request.

        Raises:
            FolderBusyError: when a stack runs in this folder already.
            StackError: when a part is missing or does not become ready; nothing is left running.
        """
        self.folder.open()
        try:
            wanted = {"postgres": False, "redis": False, **{f"s3.{part}": True for part in PARTS}}
            port = self.ports.assign(wanted, self.folder.recall("ports") or {})
            self.folder.remember("ports", port)
            self._store = self._seaweed(port)
            services = self._postgres(port), self._valkey(port), self._store
            self._environment = _environment(*services)
            self.supervisor.add(*(service.program() for service in services))
            self.supervisor.wait_ready(("postgres", "redis", "s3"))
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop everything under the supervisor; returns when no process is left."""
        self.supervisor.stop()
        if self._store is not None:
            self._store.remove_sockets()
        if self._copy is not None:
            identity.remove_copy(self._copy)
        self.ports.close()
        self.folder.close()

    def _postgres(self, port: dict[str, int]) -> Postgres:
        home = self.folder.path / "postgres"
        who = identity.unprivileged(home)
        return Postgres(
            home,
            self.folder.log("postgres"),
            port["postgres"],
            (self.folder.secret("postgres"), self.folder.secret("postgres_worker")),
            self._install(who),
            who,
        )

    def _install(self, who: Identity | None) -> Path:
        """PostgreSQL's binaries, where the user that runs them can reach them."""
        install = binaries.postgres_install()
        if who is None or identity.can_run(install, who):
            return install
        before = self.folder.recall("postgres_copy")
        self._copy = identity.readable_copy(install, who, Path(before) if before else None)
        self.folder.remember("postgres_copy", str(self._copy))
        return self._copy

    def _valkey(self, port: dict[str, int]) -> Valkey:
        return Valkey(
            self.folder.path / "redis", self.folder.log("redis"), port["redis"], self.folder.secret("redis")
        )

    def _seaweed(self, port: dict[str, int]) -> Seaweed:
        names = ("s3_access_key_id", "s3_secret_access_key")
        keys, worker_keys = (
            (self.folder.secret(whose + names[0]), self.folder.secret(whose + names[1]))
            for whose in ("", "worker_")
        )
        own = {part: port[f"s3.{part}"] for part in PARTS}
        return Seaweed(self.folder.path / "s3", self.folder.log("s3"), own, keys, worker_keys, BUCKET)


def _environment(postgres: Postgres, valkey: Valkey, store: Seaweed) -> dict[str, str]:
    return {
        "LATENTFARM_DATABASE_URL": postgres.url,
        "LATENTFARM_WORKER_DATABASE_URL": postgres.worker_url,
        "LATENTFARM_REDIS_URL": valkey.url,
        "LATENTFARM_S3_ENDPOINT_URL": store.url,
        "LATENTFARM_S3_PUBLIC_URL": store.url,
        "LATENTFARM_S3_BUCKET": store.bucket,
        "LATENTFARM_S3_ACCESS_KEY_ID": store.access_key_id,
        "LATENTFARM_S3_SECRET_ACCESS_KEY": store.secret_access_key,
        "LATENTFARM_WORKER_S3_ACCESS_KEY_ID": store.worker_access_key_id,
        "LATENTFARM_WORKER_S3_SECRET_ACCESS_KEY": store.worker_secret_access_key,
        "LATENTFARM_S3_REGION": REGION,
    }
