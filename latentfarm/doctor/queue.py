"""Redis: its version, and whether it may throw messages away."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latentfarm.doctor.finding import Finding, look

if TYPE_CHECKING:
    from redis import Redis

OLDEST = (6, 2)


def check_queue(redis: Redis) -> list[Finding]:
    """Version and memory policy."""
    return [
        look("redis version", lambda: _version(redis), "use Redis 6.2 or newer, or Valkey"),
        look(
            "redis memory policy",
            lambda: _policy(redis),
            "set maxmemory-policy noeviction: what is evicted must be found missing and sent again",
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
