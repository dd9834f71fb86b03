"""Read by Python at its start: sets `time.time` of this process wrong by so many seconds.

What the kernel tells is right all the same, so signatures and certificates hold: the fault is a clock that the
farm's own code reads.
"""

import os
import time

_seconds = float(os.environ.get("CHAOS_CLOCK_S", "0"))
if _seconds:
    _right = time.time
    time.time = lambda: _right() + _seconds
