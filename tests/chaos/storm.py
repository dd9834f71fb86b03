"""Injects the faults of a run, each at its time and in a thread of its own."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

from tests.chaos.roster import Skipped

if TYPE_CHECKING:
    from tests.chaos.faults import Fault
    from tests.chaos.place import Place

LONGEST_S = 150.0


class Storm:
    """The faults of one run."""

    def __init__(self, place: Place, faults: list[Fault]) -> None:
        self.injected: Counter[str] = Counter()
        self.skipped: list[tuple[str, str]] = []
        self.errors: list[str] = []
        self._place = place
        self._faults = faults
        self._threads: list[threading.Thread] = []

    def run(self, stopping: threading.Event) -> None:
        """Returns when the last fault has begun; `finish` waits until all are over."""
        began = time.monotonic()
        for fault in self._faults:
            if stopping.wait(max(0.0, began + fault.at_s - time.monotonic())):
                return
            thread = threading.Thread(target=self._inject, args=(fault,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def finish(self) -> None:
        """Waits for the last fault to be over."""
        deadline = time.monotonic() + LONGEST_S
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        self.errors += [f"{thread.name} does not end" for thread in self._threads if thread.is_alive()]

    def _inject(self, fault: Fault) -> None:
        try:
            fault.inject(self._place)
        except Skipped as error:
            self.skipped.append((fault.kind, str(error)))
            self._place.truth.write("fault_skipped", number=fault.number, fault=fault.kind, reason=str(error))
            return
        except Exception as error:  # noqa: BLE001 - told in the report; the others go on
            self.errors.append(f"{fault.kind}: {error!r}")
        self.injected[fault.kind] += 1
        self._place.truth.write("fault_over", number=fault.number, fault=fault.kind)
