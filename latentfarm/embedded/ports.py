"""Free loopback ports, the same at each start where they are still free."""

import errno
import secrets
import socket

from latentfarm.embedded.errors import StackError

HOST = "127.0.0.1"
GRPC_OFFSET = 10_000  # SeaweedFS takes port + 10,000 as well, for gRPC
# Below the range from which the kernel draws ports for outgoing connections (32,768 and up), also with
# the offset: no client's connection can sit on a port of ours while its service restarts. Less than
# the offset wide: no service's gRPC port is one that another may draw.
LOWEST, HIGHEST = 11_000, 20_999


class Ports:
    """Ports that are kept for one owner, from the draw until `close` or the end of the process.

    A port that is free stays so until the service listens, a second later. Of two stacks that start at the same time
    one would find it taken, so each port has a mark that no other `Ports` of this machine can have: a socket in the
    kernel's abstract namespace, which goes with its process and is as wide as the ports are, one network namespace. A
    system without such names does without marks. A forked child holds its parent's marks until it ends.
    """

    def __init__(self) -> None:
        self._marks: dict[int, socket.socket] = {}

    def draw(self, *, grpc: bool = False) -> int:
        """A random port that is free, and is kept; with `grpc` its offset port is free too.

        Raises:
            StackError: when a thousand draws found none.
        """
        for _ in range(1000):
            port = LOWEST + secrets.randbelow(HIGHEST - LOWEST + 1)
            if self.take(port, grpc=grpc):
                return port
        raise StackError(f"no free port between {LOWEST} and {HIGHEST}")

    def take(self, port: int, *, grpc: bool = False) -> bool:
        """Keep this port, if it is free and nobody keeps it, this owner neither."""
        if port in self._marks:
            return False
        mark = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        if _is_marked(mark, port) or not fits(port, grpc=grpc):
            mark.close()
            return False
        self._marks[port] = mark
        return True

    def assign(self, wanted: dict[str, bool], before: dict[str, int]) -> dict[str, int]:
        """A port for each name in `wanted` (value: whether it has a gRPC port), as `before` where still free."""
        found: dict[str, int] = {}
        for name, grpc in wanted.items():
            old = before.get(name)
            if isinstance(old, int) and LOWEST <= old <= HIGHEST and self.take(old, grpc=grpc):
                found[name] = old
        for name, grpc in wanted.items():
            if name not in found:
                found[name] = self.draw(grpc=grpc)
        return found

    def close(self) -> None:
        """Let others have them."""
        for mark in self._marks.values():
            mark.close()
        self._marks.clear()


def _is_marked(mark: socket.socket, port: int) -> bool:
    """Whether somebody else has the port's mark; if not, `mark` has it from now on."""
    try:
        mark.bind(f"\0latentfarm-port-{port}")
    except OSError as error:
        # Any other error says nothing of the port: macOS has no such names, and a sandbox may forbid them.
        return error.errno == errno.EADDRINUSE
    return False


def is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def fits(port: int, *, grpc: bool) -> bool:
    """Whether the port, and its gRPC port where it has one, is free."""
    return is_free(port) and (not grpc or is_free(port + GRPC_OFFSET))
