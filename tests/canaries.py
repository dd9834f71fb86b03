"""What must never stand in a log: strings that tests put in, and secrets of the services that they use."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

CANARY = "canary5e1f"
"""Part of everything that a test hands in to see whether it comes out in a log."""
PROMPT = "a red circle"
"""What acceptance tests render."""
KEY = re.compile(rb"lf_[a-z0-9]{8}_[A-Za-z0-9_-]{43}")
SIGNED = re.compile(rb"X-Amz-Signature=[0-9a-f]{64}")
_SECRET_URLS = ("LATENTFARM_DATABASE_URL", "LATENTFARM_REDIS_URL")


def secrets(environment: Mapping[str, str]) -> list[str]:
    """The passwords and secret keys among the variables of a farm."""
    found = [urlsplit(environment[name]).password or "" for name in _SECRET_URLS]
    found.append(environment["LATENTFARM_S3_SECRET_ACCESS_KEY"])
    assert all(len(secret) >= 16 for secret in found)
    return found


def hits(logs: Iterable[Path], words: Iterable[str]) -> list[str]:
    """Lines of logs that tell a word, a whole API key, or a link that was signed."""
    wanted = [word.encode() for word in words]
    return [
        f"{log.name}: {line[:400]!r}"
        for log in logs
        for line in log.read_bytes().splitlines()
        if any(word in line for word in wanted) or KEY.search(line) or SIGNED.search(line)
    ]
