"""The services of a farm under fire: those of a farm at home, with an object store that tells of its memory.

It is written in Go and allocates buffers of 216 MiB when it starts, which become resident page by page as they
fill; garbage lies there until there is as much of it as of what is in use. So its resident size grows for a long
time where nothing leaks, and what is in use has to be asked for. That moves in steps of 8 MiB and more, up and
down: 234 MiB after 2,000 small objects in an idle store, 274 after 22,000, 259 after 30,000.
"""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING

import httpx

from latentfarm.embedded import ports
from latentfarm.embedded.seaweed import Seaweed
from latentfarm.embedded.stack import BUCKET, Stack

if TYPE_CHECKING:
    from pathlib import Path

    from latentfarm.embedded.program import Program
    from latentfarm.embedded.supervisor import Supervisor

_NEXT = re.compile(r"^go_memstats_next_gc_bytes (\S+)$", re.MULTILINE)
_TIMES = 2
"""The next collection comes when the heap is so many times what the last one has left."""


class TellingStore(Seaweed):
    """The store, with a port for its figures."""

    figures: int

    def program(self) -> Program:
        """See `Seaweed.program`."""
        plain = super().program()
        told = ("-metricsIp=" + ports.HOST, f"-metricsPort={self.figures}")
        return dataclasses.replace(plain, argv=(*plain.argv, *told))


class TellingStack(Stack):
    """See `Stack`."""

    def __init__(self, folder: Path, supervisor: Supervisor) -> None:
        super().__init__(folder, supervisor)
        self.figures = self.ports.draw()

    def _seaweed(self, port: dict[str, int]) -> Seaweed:
        plain = super()._seaweed(port)
        keys = (plain.access_key_id, plain.secret_access_key)
        workers = (plain.worker_access_key_id, plain.worker_secret_access_key)
        store = TellingStore(plain.data, plain.log, plain.port, keys, workers, BUCKET)
        store.figures = self.figures
        return store

    def store_bytes(self) -> float | None:
        """What the store had in use when it last collected; None: it does not answer."""
        try:
            answer = httpx.get(f"http://{ports.HOST}:{self.figures}/metrics", timeout=2, trust_env=False)
        except httpx.HTTPError:
            return None
        found = _NEXT.search(answer.text)
        return float(found.group(1)) / _TIMES if found else None
