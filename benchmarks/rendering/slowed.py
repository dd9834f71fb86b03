"""An engine's factory for a worker whose encoder and store can be made slower while it runs."""

from __future__ import annotations

import functools
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentfarm.storage import S3Store
from worker import images
from worker.assembly import load as load_plainly

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.assembly import Assembled

SWITCH = "BENCHMARK_SLOW_FILE"
"""Environment variable with the path of a file: while it exists, its text is the milliseconds that are added."""


def load(*given: Any, **named: Any) -> Assembled:
    """The step engine; from now on this process encodes and puts as slowly as the file says."""
    switch = Path(os.environ[SWITCH])
    images.encode = slowed(images.encode, switch)
    S3Store.put = slowed(S3Store.put, switch)  # type: ignore[method-assign]
    return load_plainly(*given, **named)


def slowed(work: Callable[..., Any], switch: Path) -> Callable[..., Any]:
    """The same work, with the milliseconds in `switch` before it; none while there is no such file."""

    @functools.wraps(work)
    def run(*given: Any, **named: Any) -> Any:
        if switch.exists():
            time.sleep(int(switch.read_text()) / 1000)
        return work(*given, **named)

    return run
