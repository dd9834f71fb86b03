"""A TCP link that a test can make deaf, or that swallows answers: what balancers and translators do to others."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit, urlunsplit

if TYPE_CHECKING:
    from types import TracebackType

_RESET = struct.pack("ii", 1, 0)


class Link:
    """Forwards connections to one address.

    Attributes:
        cut: so many answers are swallowed, and their connections reset after the request went through.
    """

    def __init__(self, url: str) -> None:
        self._parts = urlsplit(url)
        self.cut = 0
        self.connections = 0
        self._deaf: set[socket.socket] = set()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """The same address, through this link."""
        user = f"{self._parts.netloc.rpartition('@')[0]}@" if "@" in self._parts.netloc else ""
        netloc = f"{user}127.0.0.1:{self._listener.getsockname()[1]}"
        return urlunsplit(self._parts._replace(netloc=netloc))

    def go_deaf(self) -> None:
        """All that is open now stays open, takes everything, and passes nothing on. New connections work."""
        self._deaf |= self._open

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            far = socket.create_connection((self._parts.hostname or "", self._parts.port or 0))
            self._open |= {near, far}
            for one, other, answers in ((near, far, False), (far, near, True)):
                threading.Thread(target=self._pump, args=(one, other, answers), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, answers: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                if answers and self.cut > 0:
                    self.cut -= 1
                    target.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                    target.close()
                    break
                if source not in self._deaf:
                    target.sendall(data)
        if source not in self._deaf:
            for end in (source, target):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()
        for end in self._open:
            end.close()
