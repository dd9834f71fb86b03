"""A real API on a real port, and a puppet worker that does with renders what a test tells it."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import uvicorn

from api.app import create_app
from api.heads import PromptHeads
from latentfarm.records import Claimed, Done, Failure, ObjectRef
from latentfarm.repository import claiming, failing, finishing
from latentfarm.states import Stage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentfarm.errors import ErrorClass
    from latentfarm.inputs.fetching import Fetcher
    from latentfarm.repository.facade import Repository
    from latentfarm.settings import Settings
    from latentfarm.storage import S3Store


@contextlib.contextmanager
def serve(
    settings: Settings, fetcher: Fetcher | None = None, tls: tuple[str, str] | None = None
) -> Iterator[str]:
    """The address of an API that runs in a thread of this process.

    Args:
        tls: files of a certificate and its key.
    """
    certificate, key = tls or (None, None)
    config = uvicorn.Config(
        create_app(settings, fetcher),
        http=PromptHeads,
        host="127.0.0.1",
        port=0,
        log_config=None,
        timeout_graceful_shutdown=2,
        ssl_certfile=certificate,
        ssl_keyfile=key,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, name="uvicorn")
    started = threading.Event()
    original = server.startup

    async def startup(sockets: list[object] | None = None) -> None:
        await original(sockets)  # type: ignore[arg-type]
        started.set()

    server.startup = startup  # type: ignore[method-assign, assignment]
    thread.start()
    assert started.wait(30)
    try:
        yield f"http{'' if tls is None else 's'}://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        config.app.state.services.hub.close_all()  # type: ignore[union-attr]
        server.should_exit = True
        thread.join(30)


@dataclass
class Puppet:
    """Claims and ends renders through the same functions as a worker, with bytes of a test's choice."""

    repository: Repository
    store: S3Store
    worker: int = 0

    def __post_init__(self) -> None:
        self.worker = self.repository.register(
            host="h", pid=1, device="cpu", stages=[Stage.BASE, Stage.REFINE], models=["tiny"], lease_s=60
        )

    def claim(self, most: int = 1000) -> list[Claimed]:
        """Takes all that is queued or dispatched."""
        for queue in self.repository.queues():
            self.repository.pick(queue, window_per_worker=10_000)
        pairs = [
            (pick.render_id, pick.fence)
            for queue in self.repository.queues()
            for pick in self.repository.take_lost(queue, after_s=0, room=10_000)
        ]
        return self.repository.transact(lambda c: claiming.claim(c, self.worker, sorted(pairs)[:most]))

    def finish(self, claimed: list[Claimed], files: dict[int, bytes] | None = None) -> dict[int, bytes]:
        """Uploads a file for each and ends it well; returns the files by index."""
        files = files or {item.ordinal: f"image {item.render_id}".encode() for item in claimed}
        notes = {"warnings": ["prompt was cut"]}
        done = [
            Done(
                item.render_id,
                item.fence,
                self.store.put(item.key, files[item.ordinal], "image/png"),
                4,
                notes,
            )
            for item in claimed
        ]
        self.repository.transact(lambda c: finishing.finish(c, done))
        return files

    def hand_over(self, claimed: list[Claimed]) -> dict[int, bytes]:
        """Uploads latents for each and ends the base stage; returns the files by index."""
        files = {item.ordinal: f"latents {item.render_id}".encode() for item in claimed}
        done = [
            Done(item.render_id, item.fence, self.store.put(item.key, files[item.ordinal], "x/x"), 4)
            for item in claimed
        ]
        self.repository.transact(lambda c: finishing.hand_over(c, done))
        return files

    def show(self, claimed: list[Claimed]) -> None:
        """Ends renders well without an upload."""
        ref = ObjectRef("v1/x", hashlib.sha256(b"").digest(), 0)
        done = [Done(item.render_id, item.fence, ref, 4) for item in claimed]
        self.repository.transact(lambda c: finishing.finish(c, done))

    def fail(self, claimed: list[Claimed], error_class: ErrorClass, message: str) -> None:
        """Ends renders badly."""
        failures = [Failure(item.render_id, item.fence, error_class, message) for item in claimed]
        self.repository.transact(lambda c: failing.fail(c, failures))
