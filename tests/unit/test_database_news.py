"""Whether a pooled connection's socket has something to say, whatever the number of its descriptor."""

from __future__ import annotations

import fcntl
import os
import resource
import socket
from typing import TYPE_CHECKING

import pytest

from latentfarm.database import _has_news

if TYPE_CHECKING:
    from collections.abc import Iterator

HIGH = 1500
"""Beyond what `select` takes: an API with many listeners has such descriptors."""


@pytest.fixture
def ends() -> Iterator[tuple[int, socket.socket]]:
    """A descriptor above 1,023, and the other end of it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, HIGH + 10), hard))
    near, far = socket.socketpair()
    high = fcntl.fcntl(near, fcntl.F_DUPFD_CLOEXEC, HIGH)
    near.close()
    yield high, far
    os.close(high)
    far.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_quiet_socket_has_no_news(ends: tuple[int, socket.socket]) -> None:
    assert not _has_news(ends[0])


def test_bytes_and_the_end_are_news(ends: tuple[int, socket.socket]) -> None:
    high, far = ends
    far.send(b"x")
    assert _has_news(high)
    os.read(high, 1)
    assert not _has_news(high)
    far.close()
    assert _has_news(high)
