"""Where a trial takes place: a farm under steady load, judged by the invariants at its end."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.chaos import evidence
from tests.chaos.load import Load
from tests.chaos.run import calm, say
from tests.chaos.truth import Truth
from tests.chaos.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from tests.chaos.evidence import Evidence
    from tests.chaos.plan import Submission
    from tests.chaos.profile import Profile

    Source = Callable[[World, threading.Event], Iterable[Submission]]


@dataclass(slots=True)
class Ground:
    """The farm of a trial. `evidence` is there after the block."""

    world: World
    found: Evidence | None = None

    @property
    def evidence(self) -> Evidence:
        """All that the invariants are judged by."""
        assert self.found is not None, "the trial is not over"
        return self.found


@contextlib.contextmanager
def ground(folder: Path, profile: Profile, source: Source) -> Iterator[Ground]:
    """A farm in `folder`, with submissions from `source` until the block ends; then calm, then evidence."""
    truth = Truth(folder / "truth.jsonl")
    with World(folder, profile, truth) as world:
        stopping = threading.Event()
        load = Load(world.api_url, source(world, stopping), truth)
        users = threading.Thread(target=load.run, args=(stopping,), daemon=True)
        users.start()
        found = Ground(world)
        say("the farm is up")
        try:
            yield found
        except BaseException:
            stopping.set()
            load.leave()
            raise
        stopping.set()
        users.join()
        load.finish()
        truth.write("phase", name="trial over")
        calm(profile, world)
        found.found = evidence.gather(world)
        found.found.keep(folder / "evidence.json")
    truth.close()
