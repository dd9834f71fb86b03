"""Specs of claimed renders, each read once: those of a job share one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latentfarm.spec import RenderSpec

if TYPE_CHECKING:
    from latentfarm.records import Claimed

KEPT = 512
"""Specs that are remembered: as many as one claim can bring."""


class Specs:
    """The last specs that were read, by the id of their row. Several threads may ask: at worst one is read twice."""

    def __init__(self) -> None:
        self._read: dict[int, RenderSpec] = {}

    def of(self, claimed: Claimed) -> RenderSpec:
        """What a claimed render asks for.

        Raises:
            ValidationError: what is stored is no spec that this version can read.
        """
        known = self._read.get(claimed.spec_id)
        if known is not None:
            return known
        read = RenderSpec(**claimed.picture)
        if len(self._read) >= KEPT:
            # A row's spec never changes, so nothing is lost but the time to read it again. Replaced, not emptied:
            # another thread may be looking.
            self._read = {}
        self._read[claimed.spec_id] = read
        return read
