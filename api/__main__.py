"""`python -m api`: the HTTP API, until SIGTERM or Ctrl-C."""

import socket
import sys
import threading
from types import FrameType

import uvicorn
from pydantic import ValidationError

from api.app import create_app
from api.binding import check_binding
from api.heads import PromptHeads
from latentfarm.errors import LatentfarmError
from latentfarm.logs import configure
from latentfarm.settings import Settings

GRACE_S = 10


class _Server(uvicorn.Server):
    """Uvicorn waits for open requests when it stops, and streams of events would keep it waiting."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - uvicorn's signature
        """Stops in order; the second signal stops at once. Not handed on: an orderly end is a success."""
        self.force_exit = self.should_exit
        self.should_exit = True
        hub = self.config.app.state.services.hub  # type: ignore[union-attr]  # our own application
        # A signal handler may have stopped the very code that holds the hub's lock.
        threading.Thread(target=hub.close_all, daemon=True).start()


def main() -> int:
    """Serves; prints the address when it listens. 2: the settings are not right."""
    try:
        settings = Settings()
        check_binding(settings)
        configure("api", level=settings.log_level, as_json=settings.log_json)
        app = create_app(settings)
        listening = _listen(settings.api_host, settings.api_port)
    except (LatentfarmError, ValidationError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    host, port = listening.getsockname()[:2]
    sys.stdout.write(f"http://{f'[{host}]' if ':' in host else host}:{port}\n")
    sys.stdout.flush()
    config = uvicorn.Config(
        app,
        http=PromptHeads,
        access_log=False,
        log_config=None,
        timeout_graceful_shutdown=GRACE_S,
        server_header=False,
    )
    _Server(config).run(sockets=[listening])
    return 0


def _listen(host: str, port: int) -> socket.socket:
    """A socket of our own, so that port 0 can be told before the first request."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        # With the protocol named asyncio turns Nagle's algorithm off; else each answer takes 40 ms longer.
        listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except OSError as error:
        raise LatentfarmError(f"cannot listen on {host}:{port}: {error.strerror}") from error
    return listening


if __name__ == "__main__":
    sys.exit(main())
