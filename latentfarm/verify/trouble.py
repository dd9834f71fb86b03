"""One thing that is not as SQL says."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from latentfarm.repository.auditing import Stored


class Kind(StrEnum):
    """What may be wrong with an object."""

    MISSING = "missing"  # a row tells of it, and it is not in the bucket; or a render has no row of it
    ALTERED = "altered"  # its size or digest is not that of the row
    UNREADABLE = "unreadable"  # it is what was put, and is no picture
    STRAY = "stray"  # it is in the bucket, and no row tells of it


@dataclass(frozen=True, slots=True)
class Trouble:
    """Attributes: `done` says what was done about it; "" for nothing."""

    kind: Kind
    key: str
    detail: str
    what: Stored | None = None
    done: str = ""

    def line(self) -> str:
        """One line for people."""
        what = self.what
        place = f"job {what.job_id} {what.kind} {what.index}  " if what is not None and what.job_id else ""
        done = f"; {self.done}" if self.done else ""
        return f"{self.kind.upper():10}  {place}{self.key}: {self.detail}{done}"

    def to_json(self) -> dict[str, Any]:
        """The same for programs."""
        what = self.what
        job = str(what.job_id) if what is not None and what.job_id else None
        return {
            "kind": self.kind.value,
            "key": self.key,
            "detail": self.detail,
            "done": self.done,
            "job": job,
            "of": None if what is None else what.kind,
            "index": None if what is None or job is None else what.index,
        }
