"""A duty: something that the scheduler does every so often, and only one scheduler at a time."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from latentfarm.errors import LatentfarmError
from latentfarm.logs import get_logger
from latentfarm.repository.sweeping import try_duty

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from latentfarm.repository.facade import Repository


@dataclass(slots=True)
class Duty:
    """One kind of sweep.

    Attributes:
        number: names its advisory lock; never reused.
        every_s: seconds between two runs.
        sweep: does the work in the transaction that holds the lock, and tells what it did in a few
            words; "" when there was nothing to do.
    """

    name: str
    number: int
    every_s: float
    sweep: Callable[[Connection], str]
    due: float = field(default=0.0)

    def run(self, repository: Repository, now: float) -> None:
        """Sweeps once, unless another scheduler is at it.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: the database is away; the caller waits.
        """
        self.due = now + self.every_s

        def work(connection: Connection) -> str:
            return self.sweep(connection) if try_duty(connection, self.number) else ""

        started = time.monotonic()
        try:
            told = repository.transact(work)
        except LatentfarmError as error:
            get_logger().warning("sweep_failed", duty=self.name, error=str(error))
            return
        if told:
            get_logger().info("swept", duty=self.name, did=told, took_s=round(time.monotonic() - started, 3))
