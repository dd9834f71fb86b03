"""Who packs, and has images rendered again, without a process."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from latentfarm.redraws import Redraw
from latentfarm.repository import redrawing
from tests.drawing import picture
from tests.integration.packers import Packers
from tests.pieces import image_file

if TYPE_CHECKING:
    from latentfarm.records import Claimed
    from latentfarm.repository.sealing import Packed

AGAIN = {"dark": "again", "duplicate": "again"}


class Redrawers(Packers):
    """Who packs, and has images rendered again."""

    def send_back(self, wanted: Redraw) -> bool:
        return bool(self.repository.transact(lambda c: redrawing.redraw(c, [wanted])))

    def wanted(self) -> tuple[Claimed, Redraw]:
        (claimed,) = self.seals()
        found = self.look(claimed)
        assert isinstance(found, Redraw)
        return claimed, found

    def index(self, packed: Packed) -> dict[int, dict[str, Any]]:
        rows = pq.read_table(io.BytesIO(self.read(packed.files[1]))).to_pylist()
        return {row["ordinal"]: row for row in rows}

    def check(self) -> None:
        """Every count is what the rows say."""
        live = "SELECT count(*) FROM renders r WHERE r.shard_id = s.id AND r.state < 3"
        for state, remaining, count in self.rows(
            f"SELECT state, remaining, ({live}) FROM shards s WHERE number >= 0"
        ):
            assert remaining == count
            assert (state == "open") == (count > 0)
        waiting = "SELECT count(*) FROM renders r WHERE r.job_id = j.id AND r.state = 0"
        for queued, count in self.rows(f"SELECT queued, ({waiting}) FROM jobs j"):
            assert queued == count
        sealed = "SELECT count(*) FROM shards s WHERE s.dataset_id = t.dataset_id AND s.number >= 0 AND s.state = 'sealed'"
        for count, remaining, done in self.rows(
            f"SELECT count, remaining, ({sealed}) FROM shards t WHERE number = -1"
        ):
            assert remaining == count - done
        assert not self.rows(
            "SELECT r.id FROM renders r JOIN shards s ON s.id = r.shard_id WHERE r.ordinal >= 0 AND r.state = 3"
            " AND s.state <> 'sealed' AND (SELECT count(*) FROM objects o WHERE o.render_id = r.id AND o.kind = 'image'"
            " AND o.state = 'visible') <> 1"
        )

    def tries(self) -> list[tuple[Any, ...]]:
        return self.rows(
            "SELECT r.ordinal, d.number, d.seed, d.reasons FROM redraws d JOIN renders r ON r.id = d.render_id ORDER BY 1, 2"
        )


def image(ordinal: int) -> bytes:
    """The third is black, the eighth looks like the seventh."""
    return {2: picture(fill=0), 7: image_file(6)}.get(ordinal, image_file(ordinal))
