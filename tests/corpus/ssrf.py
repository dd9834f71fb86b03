"""URLs that must lead nowhere, the names that they are made of, and a server inside that counts who comes."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


@cache
def corpus() -> dict[str, Any]:
    """`groups` of URLs, `names` with their addresses, `redirects`."""
    found: dict[str, Any] = json.loads(Path(__file__).with_name("ssrf.json").read_text())
    return found


def urls(port: int) -> list[tuple[str, str]]:
    """Group and URL, for a server at that port."""
    return [
        (group, url.replace("{port}", str(port)))
        for group, told in corpus()["groups"].items()
        for url in told
    ]


def resolve(host: str, port: int) -> list[str]:
    """As the system's resolver, numbers in every notation included, but with names of the corpus alone."""
    if host in corpus()["names"]:
        return list(corpus()["names"][host])
    if host == "public.example":
        return ["1.1.1.1"]
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    return [str(entry[4][0]) for entry in found]


@dataclass
class Metadata:
    """Stands for what a cloud tells its machines. `hits`: connections that came."""

    port: int
    hits: list[Any] = field(default_factory=list)


@contextlib.contextmanager
def metadata_server() -> Iterator[Metadata]:
    """Listens on every address of this machine, IPv4 and IPv6."""
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as listening:
        server = Metadata(listening.getsockname()[1])
        stopping = threading.Event()

        def serve() -> None:
            while True:
                connection, peer = listening.accept()
                connection.close()
                if stopping.is_set():
                    return
                server.hits.append(peer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server
        finally:
            stopping.set()
            socket.create_connection(("127.0.0.1", server.port), timeout=5).close()
            thread.join()
