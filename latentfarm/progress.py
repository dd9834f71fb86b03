"""Steps of renders in flight, and previews, through Redis pub/sub: lossy, and silent while nobody listens."""

from __future__ import annotations

import json
import threading
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from latentfarm.logs import get_logger
from latentfarm.previews import CHANNELS, channel_of, wish_of
from latentfarm.previews import decode as decode_preview

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from redis import Redis
    from redis.client import PubSub

    from latentfarm.previews import Preview, Wish
    from latentfarm.states import Stage

CHANNEL = "latentfarm:progress"
LOOK_S = 0.5
"""Seconds between two looks at whether anybody listens, and wishes for previews."""
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
        self._previews: dict[tuple[UUID, int], Preview] = {}
        self._heard = False
        self._looked = float("-inf")
        # Replaced, never altered: the render thread reads it without a lock.
        self._wishes: Mapping[UUID, frozenset[Wish]] = {}

    def wants(self, job_id: Callable[[], UUID | None], done: int, total: int) -> bool:
        """Whether somebody wishes to see images of a job at this step; costs a look while nobody wishes for any.

        Args:
            job_id: asked for only where there are wishes.
        """
        wishes = self._wishes
        if not wishes:
            return False
        found = job_id()
        return found is not None and any(wish.is_due(done, total) for wish in wishes.get(found, ()))

    def show(self, preview: Preview) -> None:
        """Takes a preview, in place of one of the same image that was not sent yet."""
        with self._lock:
            self._previews[preview.job_id, preview.index] = preview

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

        # While nobody listens there is nothing to send, and looking for listeners is all there is to do.
        while not self._stopping.wait(_TURN_S if self._heard or self._wishes else LOOK_S):
            try:
                self._turn(time.monotonic())
            except redis.exceptions.RedisError as error:
                get_logger().debug("progress_lost", error=str(error))
                self._heard, self._wishes = False, {}
                self._stopping.wait(LOOK_S)

    def _turn(self, now: float) -> None:
        if now - self._looked >= LOOK_S:
            self._looked = now
            self._look()
            self._sent = {key: at for key, at in self._sent.items() if now - at < _FORGET_S}
        messages = [(CHANNEL, item.encode()) for item in self._take(now)] + self._take_previews()
        if messages:
            with self._redis.pipeline(transaction=False) as pipeline:
                for channel, text in messages:
                    pipeline.publish(channel, text)
                pipeline.execute()

    def _look(self) -> None:
        with self._redis.pipeline(transaction=False) as pipeline:
            pipeline.pubsub_numsub(CHANNEL)
            pipeline.pubsub_channels(f"{CHANNELS}*")
            counts, channels = pipeline.execute()
        self._heard = sum(int(count) for _, count in counts) > 0
        wishes: dict[UUID, set[Wish]] = defaultdict(set)
        for channel in channels:
            if (found := wish_of(channel)) is not None:
                wishes[found[0]].add(found[1])
        self._wishes = {job_id: frozenset(wished) for job_id, wished in wishes.items()}

    def _take_previews(self) -> list[tuple[str, str]]:
        """Channels and messages: each preview goes to those who wished for its step."""
        with self._lock:
            taken = list(self._previews.values())
            self._previews.clear()
        wishes = self._wishes
        return [
            (channel_of(one.job_id, wish), one.encode())
            for one in taken
            for wish in wishes.get(one.job_id, ())
            if wish.is_due(one.step, one.total)
        ]

    def _take(self, now: float) -> list[Progress]:
        with self._lock:
            if not self._heard:
                self._newest.clear()
            keys = [key for key in self._newest if now - self._sent.get(key, float("-inf")) >= LEAST_S]
            taken = [self._newest.pop(key) for key in keys]
        self._sent.update(dict.fromkeys(keys, now))
        return taken


class ProgressListener(threading.Thread):
    """Subscribes while `wanted` is set, and tells of every step; connects again when Redis was away.

    Args:
        heard: called with a step, or with a preview and the wish that it answers.
        wished: channels for previews.
    """

    def __init__(
        self,
        redis: Redis,
        wanted: threading.Event,
        heard: Callable[[Progress | Preview, Wish | None], None],
        wished: Callable[[], Collection[str]] = frozenset,
    ) -> None:
        super().__init__(name="progress", daemon=True)
        self._redis = redis
        self._wanted = wanted
        self._heard = heard
        self._wished = wished
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
            until, wished = time.monotonic() + RENEW_S, set[str]()
            while self._wanted.is_set() and not self._stopping.is_set() and time.monotonic() < until:
                wished = self._follow(channel, wished)
                message = channel.get_message(timeout=_TURN_S)
                if message:
                    self._tell(message)

    def _tell(self, message: Mapping[str, bytes]) -> None:
        named = wish_of(message["channel"])
        item = decode(message["data"]) if named is None else decode_preview(message["data"])
        if item is not None:
            self._heard(item, None if named is None else named[1])

    def _follow(self, channel: PubSub, before: set[str]) -> set[str]:
        """Subscribes to what is wished for by now, and to nothing that no longer is."""
        now = set(self._wished())
        if new := now - before:
            channel.subscribe(*new)
        if old := before - now:
            channel.unsubscribe(*old)  # type: ignore[no-untyped-call]  # redis-py
        return now

    def stop(self) -> None:
        """Ends the thread within about half a second."""
        self._stopping.set()
