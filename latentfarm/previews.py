"""Previews of images that are being made: who asks for which, and what crosses Redis. Lossy, and never stored.

Whoever wants previews of a job subscribes to a channel that says of which steps. Workers look which of these channels
there are: so a wish ends with the process that had it, and where nobody has one nothing is made.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from uuid import UUID

CHANNELS = "latentfarm:previews:"
"""What the names of these channels begin with."""
SIDE = 256
"""Pixels of the longer side, at most."""
MAX_BYTES = 32 * 1024
"""Of one preview's file."""
MOST_EVERY = 1000
MOST_SHARES = 3
MEDIA_TYPE = "image/jpeg"

_NAME = re.compile(re.escape(CHANNELS) + r"([0-9a-f-]{36}):([es])([1-9]\d{0,3})")


@dataclass(frozen=True, slots=True)
class Wish:
    """Which steps of a stage somebody wants to see: every so many, or so many of them in all, evenly spread."""

    every: int = 0
    shares: int = 0

    def is_due(self, done: int, total: int) -> bool:
        """Whether the step is one of them, by which `done` of `total` are done; never the last one."""
        if done >= total:
            return False
        if self.every:
            return done % self.every == 0
        parts = self.shares + 1
        return done * parts // total > (done - 1) * parts // total


def channel_of(job_id: UUID, wish: Wish) -> str:
    """The channel for the previews of a job that somebody wishes for."""
    return f"{CHANNELS}{job_id}:{f'e{wish.every}' if wish.every else f's{wish.shares}'}"


def wish_of(channel: bytes | str) -> tuple[UUID, Wish] | None:
    """The job of a channel, and what is wished for; None for what is none of ours."""
    name = channel.decode("ascii", "replace") if isinstance(channel, bytes) else channel
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    try:
        job_id = UUID(found[1])
    except ValueError:
        return None
    number = int(found[3])
    return job_id, Wish(every=number) if found[2] == "e" else Wish(shares=number)


@dataclass(frozen=True, slots=True)
class Preview:
    """What one image looks like at a step, as far as can be told by then.

    Attributes:
        data: a JPEG file of at most `MAX_BYTES`.
    """

    job_id: UUID
    index: int
    stage: str
    step: int
    total: int
    data: bytes

    def encode(self) -> str:
        """The JSON that crosses Redis, and that a stream of events sends on."""
        told = {
            "job": str(self.job_id),
            "index": self.index,
            "stage": self.stage,
            "step": self.step,
            "total": self.total,
            "media_type": MEDIA_TYPE,
            "b64_json": base64.b64encode(self.data).decode(),
        }
        return json.dumps(told)


def decode(text: bytes | str) -> Preview | None:
    """Reads a message; None for what is none of ours, or is larger than any of ours."""
    try:
        found = json.loads(text)
        data = base64.b64decode(found["b64_json"], validate=True)
        place = int(found["index"]), str(found["stage"]), int(found["step"]), int(found["total"])
        return Preview(UUID(found["job"]), *place, data) if len(data) <= MAX_BYTES else None
    except (ValueError, KeyError, TypeError):
        return None
