"""Redis: its version, and whether it may throw messages away."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from latentfarm.doctor.finding import Finding, look

if TYPE_CHECKING:
    from redis import Redis

OLDEST = (6, 2)
_LOOKED_AT = 10_000
_OURS = ("base.", "refine.", "seal", "latentfarm:", "_kombu.", "unacked")


def check_queue(redis: Redis) -> list[Finding]:
    """Version, memory policy, and whether somebody else uses it."""
    return [
        look("redis version", lambda: _version(redis), "use Redis 6.2 or newer, or Valkey"),
        look(
            "redis memory policy",
            lambda: _policy(redis),
            "set maxmemory-policy noeviction: what is evicted must be found missing and sent again",
        ),
        look(
            "redis keys",
            lambda: _keys(redis),
            "give the farm a Redis database of its own, such as redis://HOST:6379/1 in LATENTFARM_REDIS_URL",
        ),
    ]


def _version(redis: Redis) -> str:
    info = redis.info("server")
    version = str(info["redis_version"])
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
        raise RuntimeError(f"{version} is too old")
    name = info.get("server_name", "redis")
    return f"{name} {info.get('valkey_version', version)}"


def _policy(redis: Redis) -> str:
    policy = str(redis.info("memory").get("maxmemory_policy", "unknown"))
    if policy != "noeviction":
        raise RuntimeError(policy)
    return policy


def _keys(redis: Redis) -> str:
    """Other programs in the same database take messages that they do not understand, or flush it."""
    names = (key.decode(errors="replace") for key in islice(redis.scan_iter(count=1000), _LOOKED_AT))
    strange = [name for name in names if not name.startswith(_OURS)]
    if strange:
        raise RuntimeError(f"{len(strange)} keys that are not the farm's, such as {min(strange)[:80]!r}")
    return "the farm's own"
