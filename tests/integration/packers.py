"""Who packs, without a process: the test does what a seal worker does."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from latentfarm.records import ObjectRef
from latentfarm.repository import sealing
from latentfarm.repository.sealing import Packed
from latentfarm.states import Stage
from tests.integration.seeding import Ground
from worker.engine.order import Errand
from worker.sealing.sealer import Sealer
from worker.sealing.shift import Shift

if TYPE_CHECKING:
    from latentfarm.records import Claimed
    from latentfarm.redraws import Redraw


class Packers(Ground):
    """The ground, and who packs on it."""

    def look(self, claimed: Claimed) -> Packed | Redraw:
        """What comes of a shard: its files, or images that are wanting."""
        sealer = Sealer(self.repository, self.store)
        found = sealer(Errand(claimed.render_id, claimed.fence, claimed.stage), Shift(lambda: None))
        assert found is not None
        return found

    def pack(self, claimed: Claimed) -> Packed:
        found = self.look(claimed)
        assert isinstance(found, Packed)
        return found

    def commit(self, packed: Packed) -> bool:
        return bool(self.repository.transact(lambda c: sealing.seal(c, [packed])))

    def seals(self) -> list[Claimed]:
        return self.claim(self.worker(Stage.SEAL), Stage.SEAL)

    def seal_all(self) -> list[Packed]:
        """Until nothing is to be packed any more; the top is the last."""
        done = []
        while claimed := self.seals():
            for one in claimed:
                done.append(self.pack(one))
                assert self.commit(done[-1])
        return done

    def read(self, file: dict[str, Any]) -> bytes:
        return self.store.get(ObjectRef(file["key"], bytes.fromhex(file["sha256"]), file["size"]))

    def stats(self, packed: Packed) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.read(packed.files[-1]))
        return found

    def job(self) -> str:
        return str(self.rows("SELECT state FROM jobs")[0][0])
