"""The folder of a stack: who owns it now, its layout, and what it remembers between two starts."""

import fcntl
import json
import os
import secrets
from pathlib import Path
from typing import Any

from latentfarm.embedded.errors import FolderBusyError, StackError


class Folder:
    """Layout: `postgres/`, `redis/`, `s3/`, `logs/`, `state.json` (ports), `secrets.json` (mode 0600).

    While it is open no other process can open it; the kernel releases it when this process dies.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._lock: int | None = None

    def open(self) -> None:
        """Make the folder where it is missing, and take it.

        Raises:
            FolderBusyError: when another process has it.
            StackError: when it cannot be made or written.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
            for name in ("redis", "s3", "logs"):
                (self.path / name).mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise StackError(f"cannot use the folder {self.path}: {error.strerror}") from error
        self._take(self._lock)

    def close(self) -> None:
        """Let others have the folder; its files stay."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def log(self, name: str) -> Path:
        """The log file of a program."""
        return self.path / "logs" / f"{name}.log"

    def secret(self, name: str) -> str:
        """A password that is made at its first use and kept: 32 letters and digits."""
        known = self._read("secrets.json")
        if name not in known:
            known[name] = secrets.token_hex(16)
            self._write("secrets.json", known)
        return str(known[name])

    def recall(self, name: str) -> Any:
        """What `remember` kept under this name, or None."""
        return self._read("state.json").get(name)

    def remember(self, name: str, value: Any) -> None:
        """Keep a JSON value for the next start."""
        self._write("state.json", {**self._read("state.json"), name: value})

    def _take(self, lock: int) -> None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(lock, 20, 0).decode(errors="replace").strip() or "unknown"
            self.close()
            raise FolderBusyError(f"{self.path} is in use by process {holder}") from None
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)

    def _read(self, name: str) -> dict[str, Any]:
        try:
            found = json.loads((self.path / name).read_text())
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise StackError(f"{self.path / name} is damaged: {error}") from error
        if not isinstance(found, dict):
            raise StackError(f"{self.path / name} is damaged: not an object")
        return found

    def _write(self, name: str, content: dict[str, Any]) -> None:
        """Replace the file as a whole, so that a crash leaves the old one or the new one."""
        fresh = self.path / f"{name}.new"
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(content, file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self.path / name)
