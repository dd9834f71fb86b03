"""One bad request, and the one answer that it must get."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

NOBODY = "01890000-0000-7000-8000-000000000000"
"""An id that nothing has."""


@dataclass(frozen=True)
class Case:
    """A request and its answer.

    Attributes:
        code: last part of the problem's type; of OpenAI's routes the code.
        field: what the first complaint names, or begins with; None: it names none.
        body: sent as JSON.
        raw: sent as it is, in place of `body`.
        key: whose API key is sent: `admin` and `submit` of one tenant, `other` of another one; empty: none.
        echo: a good request: the text that the job's spec must give back, by field.
    """

    group: str
    status: int
    code: str | None = None
    field: str | None = None
    method: str = "POST"
    path: str = "/v1/jobs"
    body: Any = None
    raw: bytes | None = None
    headers: tuple[tuple[bytes, bytes], ...] = ()
    key: str = "admin"
    echo: dict[str, Any] | None = None

    def __str__(self) -> str:
        shown = repr(self.raw) if self.raw is not None else repr(self.body)
        return (
            f"{self.group}: {self.method} {self.path[:100]} {shown[:160]} {self.headers!r:.160} as {self.key}"
        )
