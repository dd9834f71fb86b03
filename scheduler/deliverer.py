"""Tells receivers of webhooks what they are to be told. Run as many as you like: each delivery is claimed by one."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import SQLAlchemyError

from latentfarm.database import CHANNEL_DELIVERIES
from latentfarm.inputs.egress import Patience
from latentfarm.listening import Listener
from latentfarm.logs import get_logger
from latentfarm.repository import delivering, outgoing, webhooks
from latentfarm.webhooks.formats import FORMATS
from latentfarm.webhooks.hook import Reason
from latentfarm.webhooks.plan import DELAYS_S, delay_s
from latentfarm.webhooks.sending import GONE, Answer, Sender
from latentfarm.webhooks.signing import headers, new_secret
from latentfarm.webhooks.slots import Slots

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from latentfarm.repository.facade import Repository
    from latentfarm.webhooks.hook import Post, Waiting
    from latentfarm.webhooks.told import Told

LOOK_S = 1.0
"""Seconds after which is looked for what is due, whether a notification came or not."""
AWAY_S = 1.0
TRY_S = 15.0
"""Seconds that a receiver has for its answer."""
DAY_S = 86_400.0
SPREAD = 200
"""Events of which deliveries are made in one transaction."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What tests have otherwise.

    Attributes:
        lease_s: seconds after which a delivery that was claimed counts as not tried; longer than `try_s`.
        disable_s: seconds of nothing but failures after which a webhook is told nothing more.
        plan: seconds after each try that failed.
    """

    try_s: float = TRY_S
    lease_s: float = 3 * TRY_S
    disable_s: float = 5 * DAY_S
    plan: tuple[float, ...] = DELAYS_S


class Deliverer(threading.Thread):
    """Claims what is due, and sends it from a pool of threads.

    Args:
        sender: the guarded way out; tests have one that may reach a server of their own.
        api_url: for links in payloads.
        predict: writes predictions of Replicate's API.
    """

    def __init__(
        self,
        repository: Repository,
        sender: Sender,
        database_url: str,
        *,
        api_url: str,
        terms: Terms | None = None,
        slots: Slots | None = None,
        predict: Callable[[Told], dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(name="deliverer", daemon=True)
        self._repository = repository
        self._sender = sender
        self._api_url = api_url
        self._terms = terms or Terms()
        self._slots = slots or Slots()
        self._predict = predict
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._listener = Listener(database_url, [CHANNEL_DELIVERIES], lambda *_: self._wake.set())
        self._pool = ThreadPoolExecutor(self._slots.in_all, thread_name_prefix="deliver")

    def run(self) -> None:
        """Until stopped: a look whenever something new is due, or somebody is done."""
        self._listener.start()
        while not self._stopping.is_set():
            self._wake.clear()
            began = time.monotonic()
            try:
                self._look()
            except Exception as error:  # noqa: BLE001 - nobody would start the thread again
                first = (str(error).splitlines() or [type(error).__name__])[0]
                get_logger().warning("deliveries_failed", error=first)
                self._stopping.wait(AWAY_S)
            # A look takes longer the more receivers have something due: at most a quarter of the time goes there.
            self._stopping.wait(min(LOOK_S, 3 * (time.monotonic() - began)))
            self._wake.wait(LOOK_S)
        self._listener.stop()
        # Those that have not begun are made again after their lease.
        self._pool.shutdown(cancel_futures=True)
        self._listener.join()

    def stop(self) -> None:
        """Claims nothing more; tries that are under way are ended."""
        self._stopping.set()
        self._wake.set()

    def close(self) -> None:
        """Gives up its connections, once it has ended."""
        self._repository.engine.dispose()

    def _look(self) -> None:
        while self._repository.transact(partial(outgoing.spread, limit=SPREAD)) == SPREAD:
            pass
        with self._lock:
            free = self._slots.free
        if free <= 0:
            return
        # More than there are slots for: some of the receivers may have all that they may have.
        found = self._repository.transact(
            partial(delivering.waiting, each=self._slots.of_target, limit=16 * self._slots.in_all)
        )
        with self._lock:
            mine = self._slots.choose(found)
        if mine:
            self._claim(mine)

    def _claim(self, mine: list[Waiting]) -> None:
        posts: list[Post] = []
        claim = partial(
            delivering.claim,
            wanted=mine,
            lease_s=self._terms.lease_s,
            api_url=self._api_url,
            new_secret=new_secret,
        )
        try:
            posts = self._repository.transact(claim)
        finally:
            claimed = {post.waiting.id for post in posts}
            with self._lock:
                for one in mine:
                    if one.id not in claimed:
                        self._slots.leave(one)
        for post in posts:
            self._pool.submit(self._send, post)

    def _send(self, post: Post) -> None:
        """One try, whatever comes of it."""
        started = time.monotonic()
        try:
            answer = self._answer(post)
            took_s = time.monotonic() - started
            self._repository.transact(lambda c: self._record(c, post, answer, took_s))
        except SQLAlchemyError as error:
            # The receiver may have it, and gets it again: nobody knows.
            get_logger().warning(
                "delivery_unrecorded", delivery=str(post.waiting.id), error=type(error).__name__
            )
        finally:
            with self._lock:
                self._slots.leave(post.waiting, time.monotonic() - started)
            self._wake.set()

    def _answer(self, post: Post) -> Answer:
        try:
            return self._try(post)
        except Exception:  # noqa: BLE001 - a defect counts as a try: nothing would end this one else
            get_logger().exception("delivery_failed", delivery=str(post.waiting.id))
            return Answer(None, "the farm could not send it; its log says why")

    def _try(self, post: Post) -> Answer:
        made = self._words(post)
        if made is None:
            return Answer(None, f"this release has no words for {post.format}")
        body = json.dumps(made[1], separators=(",", ":"))
        signed = headers(post.waiting.id, body, post.signers, post.claimed_at)
        data = body.encode("ascii")
        typed = {"Content-Type": "application/json", "Content-Length": str(len(data))}
        patience = Patience(time.monotonic() + self._terms.try_s, self._terms.try_s)
        return self._sender.post(post.url, data, typed | signed, patience)

    def _words(self, post: Post) -> tuple[str, dict[str, Any]] | None:
        form = FORMATS.get(post.format)
        if form is None or (form.wants_picture and self._predict is None):
            return None
        return form.render(replace(post.told, predict=self._predict))

    def _record(self, connection: Connection, post: Post, answer: Answer, took_s: float) -> None:
        entry = {
            "at": (post.claimed_at + timedelta(seconds=took_s)).isoformat(timespec="milliseconds"),
            "status": answer.status,
            "error": answer.error,
            "ms": round(1000 * took_s),
        }
        if answer.error is None:
            delivering.taken(connection, post, entry)
            return
        gone = answer.status == GONE and not delivering.moved(connection, post)
        again = None if gone else delay_s(post.tries + 1, self._terms.plan, wait_s=answer.wait_s)
        if not delivering.failed(connection, post, entry, again):
            return
        if again is None:
            get_logger().info("delivery_given_up", delivery=str(post.waiting.id), error=answer.error)
        if gone:
            self._disable(connection, post, Reason.GONE)
        elif delivering.failing_s(connection, post.webhook_id) > self._terms.disable_s:
            self._disable(connection, post, Reason.FAILING)

    def _disable(self, connection: Connection, post: Post, reason: Reason) -> None:
        if webhooks.disable(connection, post.webhook_id, reason, url=post.url):
            about = {"webhook": str(post.webhook_id), "tenant": post.waiting.tenant}
            get_logger().warning("webhook_disabled", reason=reason.value, **about)
