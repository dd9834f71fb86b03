"""What somebody who can write to the broker might put into a queue: forged by hand, then cut and turned at random."""

from __future__ import annotations

import base64
import json
import os
import pickle
import random
from typing import TYPE_CHECKING, Any

from latentfarm.messages import TASK

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SEED = 20_240
WRONG: tuple[Any, ...] = (None, 5, [], {}, "x", "__import__('os')")
TASKS = [
    "celery.backend_cleanup",
    "celery.chord_unlock",
    "celery.accumulate",
    "celery.map",
    "celery.starmap",
    "celery.chunks",
    "celery.group",
    "celery.chain",
    "celery.chord",
    "celery.ping",
    "os.system",
    "builtins.eval",
    "subprocess.Popen",
    "latentfarm.deliver.__reduce__",
    "latentfarm.delete",
    "",
    "../deliver",
    TASK.upper(),
]
PAYLOADS: list[Any] = [
    None,
    7,
    "text",
    [],
    {},
    {"v": 0},
    {"v": 2, "renders": [[1, 1]]},
    {"v": "1", "renders": [[1, 1]]},
    {"v": 1},
    {"v": 1, "renders": []},
    {"v": 1, "renders": None},
    {"v": 1, "renders": {"1": 1}},
    {"v": 1, "renders": [[1, 1]] * 25},
    {"v": 1, "renders": [[1]]},
    {"v": 1, "renders": [[1, 1, 1]]},
    {"v": 1, "renders": [["1", 1]]},
    {"v": 1, "renders": [[1.0, 1]]},
    {"v": 1, "renders": [[True, 1]]},
    {"v": 1, "renders": [[0, 1]]},
    {"v": 1, "renders": [[-1, 1]]},
    {"v": 1, "renders": [[2**63, 1]]},
    {"v": 1, "renders": [[1, 2**31]]},
    {"v": 1, "renders": [[1, -1]]},
    {"v": 1, "renders": [[10**40, 10**40]]},
    {"v": 1, "renders": [["1; DROP TABLE jobs", 1]]},
    {"v": 1, "renders": [[1, 1]], "alone": "yes"},
    {"v": 1, "renders": [[2**62, 1]], "alone": True},
    {"v": 1, "renders": [[2**62 + n, 1] for n in range(24)]},
    {"__reduce__": ["os.system", ["true"]], "v": 1, "renders": [[2**62, 0]]},
    {"py/object": "os.system", "v": 1},
]


class _Canary:
    """What runs when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch '{self._file}'",)


def envelope(
    arguments: Any, *, task: str = TASK, queue: str = "base.tiny.bulk", headers: Any = None
) -> dict[str, Any]:
    """A message as Celery writes them."""
    body = arguments if isinstance(arguments, bytes) else json.dumps([[arguments], {}, {}]).encode()
    made: dict[str, Any] = {
        "body": base64.b64encode(body).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {
            "lang": "py",
            "task": task,
            "id": "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
            "argsrepr": "",
            "kwargsrepr": "",
        },
        "properties": {
            "delivery_info": {"exchange": "", "routing_key": queue},
            "delivery_tag": "6ba7b811-9dad-11d1-80b4-00c04fd430c8",
            "delivery_mode": 2,
            "body_encoding": "base64",
            "priority": 0,
        },
    }
    return made if headers is None else made | {"headers": headers}


def forged(canary: Path, foreign: Sequence[int]) -> list[bytes]:
    """By hand.

    Args:
        canary: a file that must not come into being.
        foreign: renders that are not to run, since their jobs are paused.
    """
    code = f"__import__('os').system('touch {canary}')"
    pickled = pickle.dumps(_Canary(canary))
    found: list[Any] = [envelope(payload) for payload in PAYLOADS]
    found += [envelope({"v": 1, "renders": [[1, 1]]}, task=task) for task in TASKS]
    for kind in (
        "application/x-python-serialize",
        "application/x-yaml",
        "application/data",
        "text/plain",
        "",
        None,
        5,
    ):
        found.append(envelope(pickled) | {"content-type": kind, "content-encoding": "binary"})
        found.append(
            envelope(f"!!python/object/apply:os.system ['touch {canary}']".encode()) | {"content-type": kind}
        )
    found += [
        envelope(body)
        for body in (b"", b"{", b"null", b"[]", b"[[], {}]", b"[[1, 2, 3], {}, {}]", b"\x80\x04.", pickled)
    ]
    found += [
        envelope({"v": 1, "renders": [[render, fence]]}) for render in foreign for fence in (0, 1, 2, 3)
    ]
    found += [
        envelope({"v": 1, "renders": [[render, 0] for render in foreign[:24]]}, queue="refine.tiny.bulk")
    ]
    strange = [
        {"task": code},
        {"task": TASK, "eta": code},
        {"task": TASK, "expires": code},
        {"task": TASK, "timelimit": [code, code]},
    ]
    strange += [
        {"task": TASK, "retries": code},
        {"task": TASK, "callbacks": [code]},
        {},
        {"task": None},
        {"task": 5},
        {"task": [TASK]},
    ]
    found += [envelope({"v": 1, "renders": [[2**62, 1]]}, headers=headers) for headers in strange]
    for name in ("body", "headers", "properties", "content-type", "content-encoding"):
        for value in WRONG:
            found.append(envelope({}) | {name: value})
    raw = [
        b"",
        b" ",
        b"{",
        b"null",
        b"7",
        b'"x"',
        b"[]",
        b"{}",
        pickled,
        code.encode(),
        b"\xff\xfe",
        b"\x00" * 100,
        b"[" * 100_000,
    ]
    for packer in (
        "application/x-gzip",
        "application/x-bz2",
        "gzip",
        "application/x-lzma",
        "application/zstd",
        "none",
    ):
        found.append(
            envelope(
                {"v": 1, "renders": [[2**62, 1]]}, headers={"task": TASK, "id": "1", "compression": packer}
            )
        )
    embedded = {
        "embed": {
            "callbacks": [{"task": "os.system", "args": [f"touch {canary}"]}],
            "chain": [],
            "chord": None,
        }
    }
    found.append(envelope(json.dumps([[{"v": 1, "renders": [[2**62, 1]]}], {}, embedded["embed"]]).encode()))
    return [*(json.dumps(one).encode() for one in found), *raw]


def fuzzed(seeds: Sequence[bytes], count: int) -> list[bytes]:
    """Some of them with bytes turned, cut out, doubled or put in: the same for the same seeds."""
    chance = random.Random(SEED)
    found = []
    for _ in range(count):
        one = bytearray(chance.choice(seeds)[:4_000] or b"x")
        for _ in range(chance.randint(1, 8)):
            at = chance.randrange(len(one)) if one else 0
            match chance.randrange(4):
                case 0 if one:
                    one[at] = chance.randrange(256)
                case 1:
                    del one[at : at + chance.randint(1, 20)]
                case 2:
                    one[at:at] = one[at : at + chance.randint(1, 20)]
                case _:
                    one.insert(at, chance.randrange(256))
        found.append(bytes(one))
    return found
