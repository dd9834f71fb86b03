"""A child that has loaded its models and finds no database."""

from __future__ import annotations

import threading
from urllib.parse import urlsplit

from latentfarm.database import connect
from latentfarm.repository.facade import Repository
from latentfarm.states import Stage
from tests.chaos.place import until
from tests.chaos.proxy import Switchboard
from worker.child import announce


def test_it_waits_for_the_database(environment: dict[str, str], repository: Repository) -> None:
    worker = repository.register(
        host="here", pid=1, device="cpu", stages=[Stage.BASE], models=["tiny"], lease_s=20
    )
    url = environment["LATENTFARM_DATABASE_URL"]
    port = urlsplit(url).port
    assert port is not None
    with Switchboard() as board:
        link = board.add("child.postgres", "127.0.0.1", port)
        link.refusing = True
        engine = connect(url.replace(f":{port}/", f":{link.port}/"), pool=1, application="child")
        told = threading.Thread(target=announce, args=(Repository(engine), worker, {"device_name": "x"}))
        told.start()
        until("it was refused", lambda: link.refused, 20)
        assert told.is_alive()
        link.refusing = False
        told.join(20)
        assert not told.is_alive()
        engine.dispose()
    assert repository.live_workers()[0]["ready"]
