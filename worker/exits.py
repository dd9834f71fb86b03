"""What the exit status of a child tells its parent."""

from __future__ import annotations

BROKEN = 3
"""Its device cannot be trusted any more."""
REASSIGNED = 4
"""It has drained, to make way for one with other models."""
