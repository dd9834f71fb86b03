"""What a worker owns: kept by render and fence, and gone exactly once."""

from __future__ import annotations

import threading
from uuid import UUID

from latentfarm.records import Claimed
from latentfarm.states import Lane, Stage
from worker.holdings import Holdings


def claimed(render_id: int, fence: int) -> Claimed:
    return Claimed(
        render_id=render_id,
        fence=fence,
        job_id=UUID(int=1),
        ordinal=0,
        stage=Stage.BASE,
        lane=Lane.BULK,
        picture={},
        seed=1,
        key="v1/latents/1/1.safetensors",
        alone=False,
        spec_id=1,
    )


def test_what_is_held_is_found_under_its_own_fence_only() -> None:
    holdings = Holdings()
    holdings.add(claimed(1, 4))
    assert holdings.get(1, 4) == claimed(1, 4)
    assert holdings.get(1, 3) is None
    assert holdings.get(2, 4) is None
    assert (holdings.pairs(), len(holdings)) == ({(1, 4)}, 1)


def test_a_late_removal_does_not_take_a_newer_claim_away() -> None:
    holdings = Holdings()
    holdings.add(claimed(1, 4))
    holdings.add(claimed(1, 6))
    holdings.remove(1, 4)
    assert holdings.pairs() == {(1, 6)}


def test_removing_twice_is_no_error() -> None:
    holdings = Holdings()
    holdings.add(claimed(1, 4))
    for _ in range(2):
        holdings.remove(1, 4)
    assert len(holdings) == 0


def test_whoever_waits_for_room_is_woken() -> None:
    holdings = Holdings()
    holdings.add(claimed(1, 4))
    woken = threading.Event()
    waiting = threading.Event()

    def wait() -> None:
        with holdings.changed:
            waiting.set()
            if holdings.changed.wait(10):
                woken.set()

    thread = threading.Thread(target=wait)
    thread.start()
    assert waiting.wait(10)
    holdings.remove(1, 4)
    thread.join(10)
    assert woken.is_set()
