"""Which tests go to one process: those of a file, and those of a folder whose files share a farm."""

from __future__ import annotations

from xdist.scheduler import LoadFileScheduling

TOGETHER = ("tests/contract/stock/",)


class Shares(LoadFileScheduling):  # type: ignore[misc]  # xdist is not typed
    """As `--dist loadfile`, but for folders that stay together."""

    def _split_scope(self, nodeid: str) -> str:
        return next((folder for folder in TOGETHER if nodeid.startswith(folder)), nodeid.split("::", 1)[0])
