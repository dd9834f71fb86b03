"""Claims shards and gives them to the engine: there is no spec to be read, and nothing to be fetched first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.engine.order import Errand
from worker.intake import Intake

if TYPE_CHECKING:
    from collections.abc import Callable

    from latentfarm.records import Claimed
    from latentfarm.storage import ObjectStore
    from worker.assembly import Assembled
    from worker.claimer import Claimer
    from worker.committer import Committer
    from worker.holdings import Holdings
    from worker.inbox import Inbox
    from worker.sealing.engine import SealEngine


class SealIntake(Intake):
    """From hints to errands. Arguments as `Intake` has them, and the engine by its own type."""

    def __init__(
        self,
        inbox: Inbox,
        holdings: Holdings,
        claimer: Claimer,
        committer: Committer,
        store: ObjectStore,
        assembled: Assembled,
        sick: Callable[[], object],
        *,
        engine: SealEngine,
    ) -> None:
        super().__init__(inbox, holdings, claimer, committer, store, assembled, sick)
        self._sealing = engine

    def _start(self, claimed: Claimed) -> None:
        self._sealing.submit(Errand(claimed.render_id, claimed.fence, claimed.stage))
