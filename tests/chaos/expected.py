"""What the synthetic engine paints for a request, worked out anew and from nothing but the request.

A number of 64 bits that every step changes; one that is left out, or taken twice, leads elsewhere.
"""

from __future__ import annotations

import hashlib

SIDE = 8


def expected(seed: int, steps: int, *, refined: bool) -> bytes:
    """`[8, 8, 3]` uint8 pixels as bytes.

    Args:
        seed: of the image.
        steps: of each stage.
        refined: whether a refine stage followed the base.
    """
    value = _stage(f"begin {seed} base None", seed, steps)
    if refined:
        value = _stage(f"begin {seed} refine {value}", seed, steps)
    parts = (hashlib.sha256(f"{value} {part}".encode()).digest() for part in range(6))
    return b"".join(parts)


def _stage(words: str, seed: int, steps: int) -> int:
    value = _number(words)
    for step in range(1, steps + 1):
        value = _number(f"{value} {seed} {step}")
    return value


def _number(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
