"""What goes through files and batches is larger than what it takes of the API's memory."""

from __future__ import annotations

import hashlib
import random
import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Self

import httpx
import pytest

from scheduler.duties import Duties
from tests.integration.batching import URL, Choosy, Desk, finish, jsonl, line
from tests.integration.ground import Ground
from tests.integration.serving import serve
from tests.pieces import pieces
from worker.seal.piece import Piece
from worker.seal.shard import Layout

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentfarm.broker import Broker
    from latentfarm.repository import sealing
    from latentfarm.repository.facade import Repository
    from latentfarm.settings import Settings
    from latentfarm.storage import S3Store

pytestmark = pytest.mark.long

MIB = 1024**2
IMAGES, IMAGE = 24, 3 * MIB
ALLOWED = 24 * MIB
"""A third of what comes and goes; client and API are one process here."""


class Heavy(Choosy):
    """Packs images of some MiB, whatever was rendered."""

    def pieces(self, task: sealing.Task) -> list[Piece]:
        found = []
        for number, one in enumerate(pieces(*range(task.count))):
            image = random.Random(number).randbytes(IMAGE)
            found.append(
                Piece(
                    one.ordinal,
                    one.id,
                    image,
                    hashlib.sha256(image).hexdigest(),
                    "png",
                    one.picture,
                    one.seed,
                )
            )
        return found


class Watched:
    """The most anonymous memory that this process has while it lasts, beyond what it began with."""

    def __enter__(self) -> Self:
        self.growth, self._began = 0, _anonymous()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.005):
            self.growth = max(self.growth, _anonymous() - self._began)


def _anonymous() -> int:
    found = re.search(r"RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


@pytest.fixture
def desk(settings: Settings, repository: Repository, store: S3Store, broker: Broker) -> Iterator[Desk]:
    with serve(settings) as url, httpx.Client(base_url=url, timeout=60) as http:
        yield Desk(http, Ground(repository, store), Duties(repository, broker, store, settings))


def test_an_output_file_passes_through_in_small_pieces(desk: Desk) -> None:
    made = desk.ask(jsonl(*(line(f"row-{number}") for number in range(IMAGES))))
    desk.check()
    finish(desk)
    Heavy(desk.ground, Layout.IMAGEFOLDER).pack_all()
    path = f"/v1/files/{desk.show(made)['output_file_id']}/content"
    read = 0
    with Watched() as memory, desk.http.stream("GET", path) as answer:
        for piece in answer.iter_raw(65_536):
            read += len(piece)
    assert read > IMAGES * IMAGE
    assert memory.growth < ALLOWED


def test_a_file_is_sent_and_read_in_small_pieces(desk: Desk, tmp_path: Path) -> None:
    path, requests = tmp_path / "rows.jsonl", IMAGES * IMAGE // 8_200
    with path.open("wb") as file:
        for number in range(requests):
            file.write(jsonl(line(f"row-{number}", prompt="a" * 8_000)))
    with path.open("rb") as file, Watched() as memory:
        files = {"file": ("rows.jsonl", file)}
        sent = desk.http.post("/v1/files", data={"purpose": "batch"}, files=files).json()
    assert sent["bytes"] == path.stat().st_size > 70 * MIB
    assert memory.growth < ALLOWED
    asked = {"input_file_id": sent["id"], "endpoint": URL, "completion_window": "24h"}
    with Watched() as memory:
        made = desk.http.post("/v1/batches", json=asked).json()
    assert (made["status"], made["request_counts"]["total"]) == ("validating", requests)
    assert memory.growth < ALLOWED
