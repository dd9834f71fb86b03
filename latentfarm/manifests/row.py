"""One row of a manifest, as a reader found it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from latentfarm.errors import ManifestError


@dataclass(frozen=True, slots=True)
class Row:
    """What one row says, not checked yet.

    Attributes:
        line: of the manifest where the row begins, counted from 1; of Parquet and inline rows the row.
        fields: JSON-ready values by name: spec fields, `id`, `metadata`.
        error: why the row cannot be read; then it has no fields.
    """

    line: int
    fields: dict[str, Any] = field(default_factory=dict)
    error: ManifestError | None = None
