"""Valkey with an append-only file: what it was told survives kill -9, but for its last second."""

import os
from pathlib import Path

from latentfarm.embedded import binaries, ports
from latentfarm.embedded.program import SERVICE_BACKOFF, Program

_CONFIG = """\
bind {host}
port {port}
requirepass {password}
protected-mode yes
daemonize no
appendonly yes
appendfsync everysec
save ""
maxmemory-policy noeviction
tcp-keepalive 60
"""


class Valkey:
    """The Redis-protocol server of a stack; its data lies in `data`."""

    def __init__(self, data: Path, log: Path, port: int, password: str) -> None:
        self.data = data
        self.log = log
        self.port = port
        self.password = password
        self.url = f"redis://:{password}@{ports.HOST}:{port}/0"

    def program(self) -> Program:
        """How the supervisor runs it."""
        return Program(
            name="redis",
            argv=(str(binaries.valkey_server()), "valkey.conf"),
            log=self.log,
            env=binaries.plain_environment(),
            cwd=self.data,
            prepare=self._write_config,
            ready=self._answers,
            backoff=SERVICE_BACKOFF,
        )

    def _write_config(self) -> None:
        # A file, because the password would stand in the process list as an argument.
        text = _CONFIG.format(host=ports.HOST, port=self.port, password=self.password)
        descriptor = os.open(self.data / "valkey.conf", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)

    def _answers(self) -> bool:
        import redis

        with redis.Redis.from_url(self.url, socket_timeout=2) as client:
            return bool(client.ping())
