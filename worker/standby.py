"""Whether an operator has drained this device: its parent then drains the child, and starts no other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from latentfarm.logs import get_logger
from latentfarm.repository.draining import is_drained

if TYPE_CHECKING:
    from threading import Event

    from latentfarm.repository.facade import Repository


class Standby:
    """Asks SQL, so that the answer outlives every process. While that is away, it stays what it was.

    Args:
        every_s: seconds between two looks while the device rests.

    Attributes:
        drained: what the last look has found.
    """

    def __init__(self, repository: Repository, host: str, device: str, *, every_s: float) -> None:
        self._repository = repository
        self._host = host
        self._device = device
        self._every_s = every_s
        self.drained = False

    def look(self) -> bool:
        """Whether the device is to get nothing new."""
        try:
            self.drained = self._repository.transact(lambda c: is_drained(c, self._host, self._device))
        except SQLAlchemyError as error:
            get_logger().warning("database_away", error=str(error).splitlines()[0])
        return self.drained

    def rest(self, stopping: Event) -> None:
        """Returns once the device may work, at once when it is not drained; or when `stopping` is set."""
        if not self.look():
            return
        get_logger().info("device_drained", device=self._device)
        while not stopping.wait(self._every_s) and self.look():
            continue
        if not stopping.is_set():
            get_logger().info("device_resumed", device=self._device)
