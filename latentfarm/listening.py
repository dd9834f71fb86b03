"""LISTEN on a connection of its own, in a thread of its own, for ever."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from latentfarm.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

RECONNECT_S = 1.0
NOTICE_S = 0.5
"""Seconds at most until a thread that only listens notices that it should end."""
PING_S = 5.0
"""Seconds between two questions to the database, which by itself may have nothing to say for hours."""
ANSWER_S = 10.0
"""Seconds that an answer to them may take. Then the connection counts as broken."""


class Listener(threading.Thread):
    """Calls `heard(channel, payload)` for every notification.

    Notifications are hints: what was missed while the connection was away is found by polling. After
    each connect `heard` is called once with an empty payload per channel, so that nobody waits for that.

    Args:
        url: as SQLAlchemy writes it.
        heard: called from this thread; must not raise and not take long.
    """

    def __init__(self, url: str, channels: Sequence[str], heard: Callable[[str, str], None]) -> None:
        super().__init__(name="listener", daemon=True)
        self._url = url.replace("postgresql+psycopg://", "postgresql://", 1)
        self._channels = tuple(channels)
        self._heard = heard
        self._stopping = threading.Event()

    def run(self) -> None:
        """Connects, listens, and connects again when the database was away."""
        import psycopg

        while not self._stopping.is_set():
            try:
                self._listen()
            except psycopg.Error as error:
                get_logger().warning("listener_lost", error=str(error).strip())
                self._stopping.wait(RECONNECT_S)

    def _listen(self) -> None:
        from psycopg import conninfo, sql

        from latentfarm.database import PatientConnection

        # A peer that vanished without a word is noticed in seconds.
        url = conninfo.make_conninfo(
            self._url,
            connect_timeout=5,
            keepalives_idle=5,
            keepalives_interval=2,
            keepalives_count=3,
            tcp_user_timeout=15_000,
        )
        with PatientConnection.connect(url, autocommit=True) as connection:
            connection.answer_s = ANSWER_S
            for channel in self._channels:
                connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
                self._heard(channel, "")
            ping_at = time.monotonic() + PING_S
            while not self._stopping.is_set():
                for note in connection.notifies(timeout=NOTICE_S):
                    self._heard(note.channel, note.payload)
                if time.monotonic() >= ping_at:
                    # Who only listens never learns that the line is dead.
                    connection.execute("SELECT 1")
                    ping_at = time.monotonic() + PING_S

    def stop(self) -> None:
        """Ends the thread within half a second."""
        self._stopping.set()
