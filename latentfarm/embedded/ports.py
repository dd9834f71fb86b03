"""Free loopback ports, the same at each start where they are still free."""

import secrets
import socket
from collections.abc import Iterable

HOST = "127.0.0.1"
GRPC_OFFSET = 10_000  # SeaweedFS takes port + 10,000 as well, for gRPC
# Below the range from which the kernel draws ports for outgoing connections (32,768 and up), also with
# the offset: no client's connection can sit on a port of ours while its service restarts.
LOWEST, HIGHEST = 11_000, 21_999


def is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def choose(taken: Iterable[int], *, grpc: bool = False) -> int:
    """A random free port that is not in `taken`; with `grpc` its offset port is free too.

    Raises:
        OSError: when a thousand draws found none.
    """
    avoid = set(taken)
    for _ in range(1000):
        port = LOWEST + secrets.randbelow(HIGHEST - LOWEST + 1)
        if port not in avoid and fits(port, grpc=grpc):
            return port
    raise OSError(f"no free port between {LOWEST} and {HIGHEST}")


def fits(port: int, *, grpc: bool) -> bool:
    """Whether the port, and its gRPC port where it has one, is free."""
    return is_free(port) and (not grpc or is_free(port + GRPC_OFFSET))


def assign(wanted: dict[str, bool], before: dict[str, int]) -> dict[str, int]:
    """A port for each name in `wanted` (value: whether it has a gRPC port), as `before` where still free."""
    found: dict[str, int] = {}
    for name, grpc in wanted.items():
        old = before.get(name)
        if isinstance(old, int) and LOWEST <= old <= HIGHEST and fits(old, grpc=grpc):
            found[name] = old
        else:
            found[name] = choose({*found.values(), *before.values()}, grpc=grpc)
    return found
