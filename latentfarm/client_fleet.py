"""Workers and queues of the client: for whoever operates the farm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from pydantic import BaseModel

from latentfarm.fleet_views import QueueList, QueueView, WorkerList, WorkerView

if TYPE_CHECKING:
    from latentfarm.client_http import Http

M = TypeVar("M", bound=BaseModel)


class Fleet:
    """The workers and queues of one farm; `Client.fleet`."""

    def __init__(self, http: Http) -> None:
        self.http = http

    def workers(self) -> list[WorkerView]:
        """Live workers, and drained devices."""
        return self._ask(WorkerList, "GET", "/v1/workers").data

    def drain_worker(self, name: str) -> list[WorkerView]:
        """Gives devices nothing new, from now on and until they are resumed.

        Args:
            name: id of a worker, a host, a device, or `host/device`; all that fit are meant.

        Raises:
            NotFound: none fits.
        """
        return self._ask(WorkerList, "POST", "/v1/workers/drain", json={"worker": name}).data

    def resume_worker(self, name: str) -> list[WorkerView]:
        """Lets drained devices work again; see `drain_worker`."""
        return self._ask(WorkerList, "POST", "/v1/workers/resume", json={"worker": name}).data

    def queues(self) -> list[QueueView]:
        """All queues with what is in them."""
        return self._ask(QueueList, "GET", "/v1/queues").data

    def drain_queue(self, name: str) -> QueueView:
        """Sends nothing more out of a queue until it is resumed.

        Raises:
            NotFound: there is no such queue.
        """
        return self._ask(QueueView, "POST", f"/v1/queues/{quote(name, safe='')}/drain")

    def resume_queue(self, name: str) -> QueueView:
        """Lets a drained queue go on; see `drain_queue`."""
        return self._ask(QueueView, "POST", f"/v1/queues/{quote(name, safe='')}/resume")

    def _ask(self, model: type[M], method: str, path: str, **given: Any) -> M:
        return model.model_validate_json(self.http.request(method, path, **given).content)
