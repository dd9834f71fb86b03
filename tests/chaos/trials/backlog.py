"""More renders than any farm of this size could make: large jobs, taken back when they have served."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import httpx

from tests.chaos.place import until
from tests.chaos.plan import Submission
from tests.chaos.trials.feed import body

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from tests.chaos.world import World

_WAITING = "SELECT count(*) AS n FROM renders WHERE state IN (0, 1)"
IMAGES = 1_000
"""The most that one job may ask for."""
PROMPT = "sleep 1000"
"""A render takes 12 s, so that few leave the queue while it is looked at."""
ANSWER_S = 60.0


class Backlog:
    """Jobs of `IMAGES` renders each; all of them are cancelled at the end of the block."""

    def __init__(self, world: World, seed: int, jobs: int) -> None:
        self._world = world
        self._seed = seed
        self._count = jobs
        self._jobs: dict[str, str] = {}
        self._client = httpx.Client(base_url=world.api_url, timeout=ANSWER_S, trust_env=False)

    def __enter__(self) -> Self:
        rng = Random(f"{self._seed}/backlog")
        for number in range(self._count):
            key = f"backlog-{self._seed}-{number}"
            # 0.0: the invariants know by it that somebody will take the job back.
            wanted = Submission(key, 0.0, body(rng, PROMPT, num_images=IMAGES), cancel_after_s=0.0)
            self._world.truth.write("plan", **wanted.as_line())
            answer = self._client.post("/v1/jobs", json=wanted.body, headers={"Idempotency-Key": key})
            self._jobs[key] = answer.raise_for_status().json()["id"]
            self._world.truth.write(
                "submit", key=key, job=self._jobs[key], status=answer.status_code, tries=1
            )
        return self

    def waiting(self) -> int:
        """Renders that no worker has."""
        return int(self._world.rows(_WAITING)[0]["n"])

    def wait(self, least: int) -> None:
        """Returns when so many wait."""
        until(f"{least} renders wait", lambda: self.waiting() >= least, ANSWER_S)

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if kind is None:
            for key, job in self._jobs.items():
                answer = self._client.post(f"/v1/jobs/{job}/cancel").raise_for_status()
                state = answer.json()["state"]
                self._world.truth.write("cancel", key=key, job=job, state=state, tries=1)
        self._client.close()
