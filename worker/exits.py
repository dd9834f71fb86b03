"""What the exit status of a child tells its parent."""

from __future__ import annotations

BROKEN = 3
"""Its device cannot be trusted any more."""
STANDS_STILL = 4
"""Its consumer hangs."""
REASSIGNED = 5
"""It has drained, to make way for one with other models."""
