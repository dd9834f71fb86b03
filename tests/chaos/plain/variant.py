"""The same renders and the same faults for plain Celery, as far as they apply to it, and what became of them."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import kombu.exceptions
import redis
from celery import Celery

from tests.chaos import faults, plan
from tests.chaos.plain.judgement import judge
from tests.chaos.plain.nodes import Nodes
from tests.chaos.storm import Storm
from tests.chaos.truth import Truth

if TYPE_CHECKING:
    from pathlib import Path

    from tests.chaos.plain.judgement import Stages
    from tests.chaos.plan import Submission
    from tests.chaos.profile import Profile

#: Faults that plain Celery has a place for. It has no scheduler, SQL or bucket, and a child that hangs
#: would hold its place for ever, since nothing there looks.
APPLY = frozenset(
    {
        "child_kill",
        "node_kill",
        "freeze",
        "terminate",
        "clock",
        "redis_reset",
        "redis_drop",
        "redis_half_open",
    }
    | {"redis_kill", "redis_flush"}
)
QUIET_S = 75.0
"""What has not ended so long after the last end of any is lost: more than three visibility timeouts."""
USERS = 8
PATIENCE_S = 120.0


class Users:
    """Submits to Redis past every link: only what the workers lose is to be counted."""

    def __init__(self, submissions: list[Submission], url: str, truth: Truth) -> None:
        self._submissions = submissions
        self._truth = truth
        self._app = Celery("users", broker=url, set_as_current=False)
        self._app.conf.update(task_ignore_result=True)
        self.accepted: dict[int, Stages] = {}

    def run(self, stopping: threading.Event) -> None:
        """Each at its time; returns when all are answered."""
        began = time.monotonic()
        render = 0
        with ThreadPoolExecutor(USERS) as pool:
            for submission in self._submissions:
                if stopping.wait(max(0.0, began + submission.at_s - time.monotonic())):
                    return
                for _ in range(submission.images):
                    pool.submit(self._submit, render, submission, stopping)
                    render += 1

    def _submit(self, render: int, submission: Submission, stopping: threading.Event) -> None:
        step_s = int(submission.body["prompt"].split()[1]) / 1000
        names = ["base", "refine"] if submission.body["refiner"] else ["base"]
        stages = [(name, plan.STEPS) for name in names]
        first, *rest = [
            self._app.signature("plain.stage", (render, name, steps, step_s), immutable=True, app=self._app)
            for name, steps in stages
        ]
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline and not stopping.is_set():
            try:
                first.apply_async(link=rest or None)
            except (kombu.exceptions.KombuError, redis.RedisError, OSError):
                time.sleep(0.5)
                continue
            self.accepted[render] = stages
            self._truth.write("submit", render=render)
            return


def both(profile: Profile, seed: int, folder: Path) -> dict[str, Any]:
    """Both variants at the same time, each with a Redis of its own."""
    modes = ("early", "late")
    stopping = threading.Event()
    with ThreadPoolExecutor(len(modes)) as pool:
        runs = [pool.submit(run_plain, profile, seed, folder / mode, mode, stopping) for mode in modes]
        try:
            return {mode: run.result() for mode, run in zip(modes, runs, strict=True)}
        finally:
            stopping.set()


def run_plain(
    profile: Profile, seed: int, folder: Path, mode: str, stopping: threading.Event
) -> dict[str, Any]:
    """One variant: `early` or `late`."""
    folder.mkdir()
    truth = Truth(folder / "truth.jsonl")
    healthy = [item for item in plan.draw(seed, profile) if item.poison is None]
    drawn = faults.draw(seed, profile.faults, profile.window_s, profile.counts)
    with Nodes(folder, profile, truth, mode) as nodes:
        users = Users(healthy, nodes.redis_url, truth)
        storm = Storm(nodes, [fault for fault in drawn if fault.kind in APPLY])
        sides = [threading.Thread(target=side.run, args=(stopping,), daemon=True) for side in (users, storm)]
        for side in sides:
            side.start()
        for side in sides:
            side.join()
        if not stopping.is_set():
            storm.finish()
        _settle(nodes.log, users.accepted, stopping)
        figures = judge(nodes.log.read_text(), users.accepted)
    truth.close()
    return {**figures, "faults": dict(sorted(storm.injected.items())), "faults_skipped": len(storm.skipped)}


def _settle(log: Path, accepted: dict[int, Stages], stopping: threading.Event) -> None:
    """Until every render has ended, or nothing has for long."""
    last, since = -1, time.monotonic()
    while time.monotonic() - since < QUIET_S:
        ended = judge(log.read_text(), accepted)["ended"] if log.exists() else 0
        if ended == len(accepted):
            return
        if ended != last:
            last, since = ended, time.monotonic()
        if stopping.wait(1.0):
            return
