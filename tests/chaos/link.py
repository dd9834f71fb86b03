"""One TCP link of the fault proxy: a port of its own that leads to a service, and what may go wrong on it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter

CHUNK = 65_536
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER on, for 0 s: closing sends RST in place of FIN."""


@dataclass(eq=False)
class Wire:
    """One connection through a link: both sockets, and what is wrong with it."""

    client: StreamWriter
    server: StreamWriter
    dark: bool = False
    """Nothing passes in either direction, and nobody is told."""
    deaf: bool = False
    """Replies are dropped; requests pass."""
    mute: bool = False
    """Requests are dropped; replies pass."""
    cut_after: int | None = None
    """Bytes of requests that still pass; then both sides see a reset."""
    request: bytes = b""
    """The first bytes of the last request."""

    def reset(self) -> None:
        """Both sides see RST."""
        for side in (self.client, self.server):
            found = side.get_extra_info("socket")
            with contextlib.suppress(OSError):
                found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            side.transport.abort()


@dataclass(eq=False)
class Link:
    """From a loopback port to a service. Everything here runs in the switchboard's thread."""

    name: str
    upstream: tuple[str, int]
    port: int = 0
    refusing: bool = False
    """New connections are reset at once."""
    refused: int = 0
    answers: list[int] = field(default_factory=list)
    """Every HTTP request is answered with the last of these statuses, and never arrives."""
    delay_s: float = 0.0
    lose_uploads: int = 0
    """So many uploads arrive, and their answer is lost with the connection."""
    lost_uploads: int = 0
    wires: set[Wire] = field(default_factory=set)
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def open(self) -> None:
        """Listens on a free port."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Ends the link and all that passes through it."""
        if self._server is not None:
            self._server.close()
        self.reset()
        for task in tuple(self._tasks):
            task.cancel()

    def reset(self) -> None:
        """Resets every open connection."""
        for wire in tuple(self.wires):
            wire.reset()

    def mark(self, **faults: object) -> int:
        """Sets what is wrong with the connections that are open now; returns how many they are."""
        for wire in tuple(self.wires):
            for name, value in faults.items():
                setattr(wire, name, value)
        return len(self.wires)

    def bury(self) -> None:
        """Closes what a black hole has left."""
        for wire in tuple(self.wires):
            if wire.dark:
                wire.reset()

    async def _accept(self, reader: StreamReader, writer: StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._serve(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            writer.transport.abort()
        finally:
            self._tasks.discard(task)

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        if self.refusing:
            self.refused += 1
            Wire(writer, writer).reset()
            return
        if self.answers:
            await answer(reader, writer, self.answers[-1])
            return
        upstream, server = await asyncio.open_connection(*self.upstream)
        wire = Wire(writer, server)
        self.wires.add(wire)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._requests(reader, wire))
                both.create_task(self._replies(upstream, wire))
        except* OSError:
            wire.reset()
        finally:
            self.wires.discard(wire)

    async def _requests(self, reader: StreamReader, wire: Wire) -> None:
        while data := await reader.read(CHUNK):
            if self.delay_s:
                await asyncio.sleep(self.delay_s)
            if wire.dark or wire.mute:
                continue
            wire.request = data[:8] if data[:4] in _VERBS else wire.request
            if wire.cut_after is not None:
                wire.server.write(data[: wire.cut_after])
                wire.cut_after -= len(data)
                if wire.cut_after <= 0:
                    await wire.server.drain()
                    wire.reset()
                    return
            else:
                wire.server.write(data)
            await wire.server.drain()
        await _finish(wire, wire.server)

    async def _replies(self, reader: StreamReader, wire: Wire) -> None:
        while data := await reader.read(CHUNK):
            if wire.dark or wire.deaf:
                continue
            if self.lose_uploads and wire.request[:4] == b"PUT " and not data.startswith(b"HTTP/1.1 100"):
                self.lose_uploads -= 1
                self.lost_uploads += 1
                wire.reset()
                return
            wire.client.write(data)
            await wire.client.drain()
        await _finish(wire, wire.client)


_VERBS = {b"PUT ", b"GET ", b"HEAD", b"POST", b"DELE"}


async def _finish(wire: Wire, other: StreamWriter) -> None:
    """One side has closed: so does the other, unless it is in a black hole and never hears of it."""
    if not wire.dark:
        other.close()


async def answer(reader: StreamReader, writer: StreamWriter, status: int) -> None:
    """Takes one HTTP request and answers it."""
    head = await reader.readuntil(b"\r\n\r\n")
    fields = dict(line.split(b":", 1) for line in head.lower().split(b"\r\n")[1:] if b":" in line)
    if b"expect" not in fields:
        await reader.readexactly(int(fields.get(b"content-length", b"0")))
    body = b"<Error><Code>SlowDown</Code><Message>chaos</Message></Error>"
    writer.write(
        b"HTTP/1.1 %d Chaos\r\nContent-Type: application/xml\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
        % (status, len(body))
    )
    if not head.startswith(b"HEAD"):
        writer.write(body)
    await writer.drain()
    writer.close()
