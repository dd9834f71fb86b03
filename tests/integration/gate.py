"""A TCP proxy in front of a real service, which a test can close or freeze."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Self


class Gate:
    """Passes bytes on while it is open.

    Closed, it refuses and cuts connections, as a service that died. Frozen, it takes connections and
    bytes and passes nothing on, as a service that was stopped or a host that hangs.
    """

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._flowing = threading.Event()
        self._flowing.set()
        self._open = True
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._server = self._listen(0)
        self.port = self._server.getsockname()[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self._flowing.set()

    def close(self) -> None:
        """As if the service had died."""
        self._open = False
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for pair in self._pairs:
            _cut(*pair)
        self._pairs.clear()

    def reopen(self) -> None:
        """As if it had come back, on the same port."""
        self._open = True
        self._server = self._listen(self.port)

    def freeze(self) -> None:
        """As if it had been stopped."""
        self._flowing.clear()

    def thaw(self) -> None:
        """As if it went on."""
        self._flowing.set()

    def _listen(self, port: int) -> socket.socket:
        server = socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self._accept, args=(server,), daemon=True).start()
        return server

    def _accept(self, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while self._open:
                inside, _ = server.accept()
                outside = socket.create_connection(self._target)
                self._pairs.append((inside, outside))
                for source, sink in ((inside, outside), (outside, inside)):
                    threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                self._flowing.wait()
                sink.sendall(data)
        _cut(source, sink)


def _cut(*sockets: socket.socket) -> None:
    for one in sockets:
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        one.close()
