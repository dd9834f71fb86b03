"""An API and a deliverer that may reach a receiver of the test, as no setting would let them: `-m tests.acceptance.telling api|deliver`."""

from __future__ import annotations

import os
import ssl
import sys
from typing import Any

import uvicorn

from api.app import create_app
from latentfarm.database import connect
from latentfarm.inputs.fetching import Fetcher
from latentfarm.logs import configure
from latentfarm.repository.facade import Repository
from latentfarm.settings import Settings
from latentfarm.webhooks.sending import Sender
from scheduler.deliverer import Deliverer, Terms

LOOPBACK = "127.0.0.1"
TERMS = Terms(try_s=2.0, lease_s=5.0, plan=(0.5,) * 60)
"""So that a run takes minutes in place of days."""


def opened() -> dict[str, Any]:
    """The way out, opened to one port of loopback, and to an authority that the test has made."""
    return {
        "resolver": lambda _host, _port: [LOOPBACK],
        "allowed": lambda address: address == LOOPBACK,
        "ports": frozenset({int(os.environ["RECEIVER_PORT"])}),
        "context": ssl.create_default_context(cafile=os.environ["RECEIVER_AUTHORITY"]),
    }


def main() -> None:
    settings = Settings()
    configure("telling", level="WARNING", as_json=True)
    if sys.argv[1] == "api":
        app = create_app(settings, Fetcher(**opened()))
        uvicorn.run(app, host=LOOPBACK, port=settings.api_port, log_config=None)
        return
    engine = connect(settings.database_url, pool=12, application="telling")
    sender = Sender(**opened())
    Deliverer(Repository(engine), sender, settings.database_url, api_url=settings.api_url, terms=TERMS).run()


if __name__ == "__main__":
    main()
