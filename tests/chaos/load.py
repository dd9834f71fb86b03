"""The users of a run: they submit over HTTP, try again until they are answered, and change their minds."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from collections.abc import Iterable
    from concurrent.futures import Future

    from tests.chaos.plan import Submission
    from tests.chaos.truth import Truth

USERS = 8
TIMEOUT_S = 15.0
PATIENCE_S = 120.0
"""So long a user tries to get an answer."""
PAUSE_S = (0.2, 0.5, 1.0, 2.0)
RETRIED = frozenset({409, 425, 429, 500, 502, 503, 504})


class Load:
    """Makes the submissions of a plan, each at its time."""

    def __init__(self, url: str, plan: Iterable[Submission], truth: Truth) -> None:
        self._plan = plan
        self._truth = truth
        self._client = httpx.Client(base_url=url, timeout=TIMEOUT_S, trust_env=False)
        self._pool = ThreadPoolExecutor(USERS, thread_name_prefix="user")
        self._later: list[threading.Timer] = []
        self._work: list[Future[None]] = []
        self._gone = threading.Event()

    def run(self, stopping: threading.Event) -> None:
        """Returns when everything was sent; `finish` waits for the answers."""
        began = time.monotonic()
        for submission in self._plan:
            if stopping.wait(max(0.0, began + submission.at_s - time.monotonic())):
                return
            self._truth.write("plan", **submission.as_line())
            for _ in range(2 if submission.twice else 1):
                self._work.append(self._pool.submit(self._submit, submission))

    def finish(self) -> None:
        """Waits for all answers, to cancels too."""
        for work in self._work:
            work.result()
        for timer in self._later:
            timer.join()
        self._pool.shutdown(wait=True)
        self._client.close()

    def leave(self) -> None:
        """Ends everything at once: the run was broken off."""
        self._gone.set()
        for timer in self._later:
            timer.cancel()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _submit(self, submission: Submission) -> None:
        headers = {"Idempotency-Key": submission.key}
        answer, tries = self._ask("/v1/jobs", submission.body, headers)
        job = answer.json()["id"] if answer is not None and answer.status_code == 202 else None
        status = answer.status_code if answer is not None else None
        self._truth.write("submit", key=submission.key, job=job, status=status, tries=tries)
        if job is not None and submission.cancel_after_s is not None:
            timer = threading.Timer(submission.cancel_after_s, self._cancel, (submission.key, job))
            self._later.append(timer)
            timer.start()

    def _cancel(self, key: str, job: str) -> None:
        answer, tries = self._ask(f"/v1/jobs/{job}/cancel", None, {})
        view: dict[str, Any] = answer.json() if answer is not None and answer.is_success else {}
        self._truth.write("cancel", key=key, job=job, state=view.get("state"), tries=tries)

    def _ask(
        self, path: str, body: dict[str, Any] | None, headers: dict[str, str]
    ) -> tuple[httpx.Response | None, int]:
        """The answer that says something, and how often it was asked for; None: there was none in time."""
        deadline = time.monotonic() + PATIENCE_S
        tries = 0
        while time.monotonic() < deadline and not self._gone.is_set():
            tries += 1
            try:
                answer = self._client.post(path, json=body, headers=headers)
            except httpx.HTTPError:
                answer = None
            if answer is not None and answer.status_code not in RETRIED:
                return answer, tries
            self._gone.wait(PAUSE_S[min(tries, len(PAUSE_S)) - 1])
        return None, tries
