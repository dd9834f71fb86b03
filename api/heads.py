"""Heads of requests come in bounded time: uvicorn waits for them for ever, and whoever sends one letter a minute holds a connection."""

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol


class PromptHeads(H11Protocol):
    """Uvicorn's protocol, which closes a connection on which no whole head has come within `HEAD_S`."""

    HEAD_S = 10.0
    """Seconds from the connection, or from the first byte of a further request, to the end of the head."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The time for the first head begins."""
        super().connection_made(transport)  # type: ignore[arg-type]  # uvicorn's is narrower than asyncio's
        self._late = self.loop.call_later(self.HEAD_S, self._close_late)

    def data_received(self, data: bytes) -> None:
        """A head is whole, or its time goes on."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._settle()
        elif self._late is None:
            self._late = self.loop.call_later(self.HEAD_S, self._close_late)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody is waited for any more."""
        self._settle()
        super().connection_lost(exc)

    def _settle(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _close_late(self) -> None:
        self._late = None
        if self.conn.their_state is h11.IDLE and (self.cycle is None or self.cycle.response_complete):
            self.transport.close()
