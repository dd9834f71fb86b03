"""What crosses Redis: a version and up to 24 pairs of (render id, fence). Never prompts or tensors."""

from dataclasses import dataclass

from latentfarm.errors import BadMessage
from latentfarm.states import Lane, Stage

VERSION = 1
CHUNK = 8
"""Most renders in one message, where workers hold some dozens."""
MOST = 24
"""The same, where they hold hundreds: each message costs a worker a round trip to Redis. More could pass 1 KB."""
TASK = "latentfarm.deliver"
"""Explicit Celery task name: it must not change when a module moves."""

Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Message:
    """One chunk: `renders` are (render id, fence) pairs of one queue.

    `alone`: the one render in it was in flight when a process died; nothing may run beside it.
    """

    renders: tuple[Pair, ...]
    alone: bool = False

    def encode(self) -> dict[str, object]:
        """The JSON-ready form, under 1 KB."""
        return {"v": VERSION, "renders": [list(pair) for pair in self.renders], "alone": self.alone}


def decode(payload: object) -> Message:
    """Reads what came out of Redis.

    Raises:
        BadMessage: it is not a message of ours, or of a version that this worker does not know.
    """
    if not isinstance(payload, dict) or payload.get("v") != VERSION:
        raise BadMessage(f"not a message of version {VERSION}", payload)
    renders = payload.get("renders")
    if not isinstance(renders, list) or not 1 <= len(renders) <= MOST:
        raise BadMessage(f"a message holds 1 to {MOST} renders", payload)
    alone = payload.get("alone", False)
    if not isinstance(alone, bool):
        raise BadMessage("`alone` is true or false", payload)
    return Message(tuple(_pair(entry, payload) for entry in renders), alone)


def _pair(entry: object, payload: object) -> Pair:
    if not isinstance(entry, list) or len(entry) != 2 or not all(type(part) is int for part in entry):
        raise BadMessage("each render is a pair of integers: id and fence", payload)
    render_id, fence = entry
    # What PostgreSQL could not take would fail the claim of every render that came along with it.
    if not (0 < render_id < 2**63 and 0 <= fence < 2**31):
        raise BadMessage("an id or a fence is out of range", payload)
    return render_id, fence


def queue_name(stage: Stage, model: str, lane: Lane) -> str:
    """The Redis list in which renders of this stage, model and lane wait. Packing needs no model, and has one lane."""
    return stage.label if stage is Stage.SEAL else f"{stage.label}.{model}.{lane.value}"
