"""Steps of renders in flight, through Redis pub/sub: lossy, and silent while nobody listens."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from latentfarm.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis import Redis

    from latentfarm.states import Stage

CHANNEL = "latentfarm:progress"
LOOK_S = 1.0
"""Seconds between two looks at whether anybody listens."""
NOTICE_S = 0.5
"""Seconds at most until the listening thread notices that it should end, or that somebody watches."""
LEAST_S = 0.5
"""Least seconds between two messages about one render."""
_TURN_S = 0.1
_FORGET_S = 60.0
RENEW_S = 30.0
"""Seconds after which a subscription is made anew: one whose other end is gone is silent for ever."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where one image stands: `step` of `total` in `stage`."""

    job_id: UUID
    index: int
    stage: str
    step: int
    total: int

    def encode(self) -> str:
        """The JSON that crosses Redis."""
        return json.dumps(
            {
                "job": str(self.job_id),
                "index": self.index,
                "stage": self.stage,
                "step": self.step,
                "total": self.total,
            }
        )


def decode(text: bytes | str) -> Progress | None:
    """Reads a message; None for what is none of ours: progress may be lost."""
    try:
        found = json.loads(text)
        return Progress(
            UUID(found["job"]),
            int(found["index"]),
            str(found["stage"]),
            int(found["step"]),
            int(found["total"]),
        )
    except (ValueError, KeyError, TypeError):
        return None


class ProgressPublisher(threading.Thread):
    """Takes steps from a render thread without ever making it wait, and sends some of them.

    `offer` keeps the newest step of each render; this thread sends what is due.
    """

    def __init__(self, redis: Redis) -> None:
        super().__init__(name="progress", daemon=True)
        self._redis = redis
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._newest: dict[tuple[UUID, int], Progress] = {}
        self._sent: dict[tuple[UUID, int], float] = {}
        self._heard = False
        self._looked = float("-inf")

    def offer(self, job_id: UUID, index: int, stage: Stage, step: int, total: int) -> None:
        """Tells where a render stands; costs next to nothing while nobody listens."""
        if self._heard:
            with self._lock:
                self._newest[job_id, index] = Progress(job_id, index, stage.label, step, total)

    def stop(self) -> None:
        """Ends the thread; what was not sent is lost."""
        self._stopping.set()

    def run(self) -> None:
        """Sends until `stop`. Redis may come and go."""
        import redis.exceptions

        while not self._stopping.wait(_TURN_S):
            try:
                self._turn(time.monotonic())
            except redis.exceptions.RedisError as error:
                get_logger().debug("progress_lost", error=str(error))
                self._heard = False
                self._stopping.wait(LOOK_S)

    def _turn(self, now: float) -> None:
        if now - self._looked >= LOOK_S:
            self._looked = now
            self._heard = self._listeners() > 0
            self._sent = {key: at for key, at in self._sent.items() if now - at < _FORGET_S}
        due = self._take(now)
        if due:
            with self._redis.pipeline(transaction=False) as pipeline:
                for item in due:
                    pipeline.publish(CHANNEL, item.encode())
                pipeline.execute()

    def _listeners(self) -> int:
        counts = self._redis.pubsub_numsub(CHANNEL)
        return sum(int(count) for _, count in counts)

    def _take(self, now: float) -> list[Progress]:
        with self._lock:
            if not self._heard:
                self._newest.clear()
            keys = [key for key in self._newest if now - self._sent.get(key, float("-inf")) >= LEAST_S]
            taken = [self._newest.pop(key) for key in keys]
        self._sent.update(dict.fromkeys(keys, now))
        return taken


class ProgressListener(threading.Thread):
    """Subscribes while `wanted` is set, and calls `heard` for every step; connects again when Redis was away."""

    def __init__(self, redis: Redis, wanted: threading.Event, heard: Callable[[Progress], None]) -> None:
        super().__init__(name="progress", daemon=True)
        self._redis = redis
        self._wanted = wanted
        self._heard = heard
        self._stopping = threading.Event()

    def run(self) -> None:
        """Until `stop`."""
        import redis.exceptions

        while not self._stopping.is_set():
            if not self._wanted.wait(NOTICE_S):
                continue
            try:
                self._listen()
            except redis.exceptions.RedisError as error:
                get_logger().debug("progress_listener_lost", error=str(error))
                self._stopping.wait(LOOK_S)

    def _listen(self) -> None:
        with self._redis.pubsub(ignore_subscribe_messages=True) as channel:  # type: ignore[no-untyped-call]  # redis-py
            channel.subscribe(CHANNEL)
            until = time.monotonic() + RENEW_S
            while self._wanted.is_set() and not self._stopping.is_set() and time.monotonic() < until:
                message = channel.get_message(timeout=NOTICE_S)
                item = decode(message["data"]) if message else None
                if item is not None:
                    self._heard(item)

    def stop(self) -> None:
        """Ends the thread within about half a second."""
        self._stopping.set()
