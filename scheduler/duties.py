"""All duties of the scheduler, and what each puts right."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING
from uuid import UUID

from latentfarm.dispatch import republish
from latentfarm.fairness import assign
from latentfarm.keys import file_key, input_key, upload_key
from latentfarm.repository import (
    affinity,
    batches,
    cancelling,
    charging,
    checkpointing,
    delivering,
    dispatching,
    emptying,
    failing,
    files,
    holding,
    inputs,
    mending,
    quota_rows,
    retaining,
    sets,
    sources,
    sweeping,
    uploads,
)
from scheduler.duty import Duty
from scheduler.tidying import Tidying

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from latentfarm.broker import Broker
    from latentfarm.repository.facade import Repository
    from latentfarm.settings import Settings
    from latentfarm.storage import S3Store

BATCH = 500
"""Most that one sweep marks or deletes, every 5 s. More would make one request to a slow store too long."""
FORGOTTEN = 5_000
"""Most rows of deliveries that one sweep deletes."""
EMPTIED = 10_000
"""Most rows of renders and shards of a deleted dataset that one sweep deletes: half a second."""
JOBS = 4000
"""Most jobs whose latents one sweep looks for; many have none."""
REST_S = 60.0
"""Least seconds for which a dataset rests before it is tidied: a request with rows is spooled and stored in less."""
HOUR_S = 3600.0
DAY_S = 24 * HOUR_S


class Duties:
    """The sweeps and what they need.

    Nothing is deleted in the transaction that finds it. One commits the mark that keeps everybody from
    using it, a later one deletes the object and then forgets the row: whatever dies in between, no row
    that somebody may use tells of an object that is gone.

    `calm_since` is when the database last came back (monotonic seconds): nobody could renew a lease
    while it was away, so rescue waits one lease from then on.
    """

    def __init__(self, repository: Repository, broker: Broker, store: S3Store, settings: Settings) -> None:
        self.repository = repository
        self.broker = broker
        self.store = store
        self.settings = settings
        self.calm_since = float("-inf")
        self._checked_up_to = UUID(int=0)
        self._mended_up_to = mending.START
        self._tidying = Tidying(store, max(REST_S, settings.collect_after_s))

    def groups(self) -> list[list[Duty]]:
        """Every duty, by what it waits for: a bucket or a Redis that hangs must not hold up a rescue."""
        every_s = self.settings.sweep_s
        records = [
            Duty("rescue", 1, every_s, self.rescue),
            Duty("finish_cancels", 3, 2 * every_s, self.finish_cancels),
            Duty("measure_waits", 4, 5 * every_s, self.measure_waits),
            Duty("recheck_jobs", 7, 10 * every_s, self.recheck_jobs),
            Duty("charge", 20, every_s, self.charge),
            Duty("mend", 21, 5 * every_s, self.mend),
            Duty("assign", 30, every_s, self.assign),
            Duty("expire_batches", 40, 10 * every_s, self.expire_batches),
            Duty("forget_deliveries", 44, 10 * every_s, self.forget_deliveries),
            Duty("rotate", 8, HOUR_S, self.rotate),
        ]
        messages = [Duty("republish", 2, every_s, self.republish)]
        objects = [
            Duty("collect", 5, 5 * every_s, self.collect),
            Duty("drop_checkpoints", 11, 2 * every_s, self.drop_checkpoints),
            Duty("drop_latents", 6, 5 * every_s, self.drop_latents),
            Duty("drop_uploads", 9, 10 * every_s, self.drop_uploads),
            Duty("drop_files", 41, 60 * every_s, self.drop_files),
            Duty("drop_inputs", 10, 10 * every_s, self.drop_inputs),
            Duty("drop_results", 12, 5 * every_s, self.drop_results),
            Duty("tidy_datasets", 13, 5 * every_s, self.tidy_datasets),
            Duty("empty_datasets", 42, 5 * every_s, self.empty_datasets),
        ]
        # By itself: what a tenant with millions of images keeps takes a while to count.
        counts = [Duty("count_storage", 43, 2 * every_s, self.count_storage)]
        return [records, messages, objects, counts]

    def rescue(self, connection: Connection) -> str:
        """Takes back what incarnations with an expired lease were running."""
        lease_s = self.settings.lease_s
        if time.monotonic() < self.calm_since + lease_s:
            return ""
        dead, renders = failing.rescue_expired(connection, lease_s=lease_s)
        return f"ended workers {dead}, took back {len(renders)} renders" if dead or renders else ""

    def republish(self, _: Connection) -> str:
        """Sends again what Redis has lost; all that is dispatched when Redis was flushed."""
        flushed = self.broker.lost_everything()
        queues = self.repository.queues()
        sent = sum(republish(self.repository, self.broker, queue, flushed=flushed) for queue in queues)
        if flushed:
            # Last: should sending fail half way, the next sweep sends all of it again.
            self.broker.mark_epoch()
        return f"sent {sent} renders again{' after a flush' if flushed else ''}" if sent else ""

    def finish_cancels(self, connection: Connection) -> str:
        """Ends the renders of jobs whose cancel was interrupted."""
        count = sweeping.half_cancelled(connection)
        return f"cancelled {count} renders" if count else ""

    def measure_waits(self, connection: Connection) -> str:
        """Measures how long messages wait in each queue."""
        dispatching.measure_waits(connection)
        return ""

    def charge(self, connection: Connection) -> str:
        """Charges tenants for what the workers have run since the last sweep."""
        charging.charge(connection)
        return ""

    def mend(self, connection: Connection) -> str:
        """Puts right what a job says of itself, and what dispatch goes by."""
        named = mending.name_models(connection)
        wrong, self._mended_up_to = mending.count_again(connection, self._mended_up_to)
        return f"named {named} jobs' models, counted {wrong} again" if named or wrong else ""

    def assign(self, connection: Connection) -> str:
        """Has workers hold other models, where that is worth a load or somebody has waited for long."""
        told = []
        for view in affinity.views(connection):
            wanted = assign(view)
            for holder in view.holders:
                models = wanted[holder.worker]
                if holder.settled and set(models) != set(holder.holds):
                    holding.reassign(connection, holder.worker, models)
                    told.append(f"worker {holder.worker}: {', '.join(models)} for {', '.join(holder.holds)}")
        return "; ".join(told)

    def collect(self, connection: Connection) -> str:
        """Deletes what an earlier sweep has marked; marks what was planned and can never become visible."""
        found = sweeping.going_objects(connection, limit=BATCH)
        if found:
            self.store.delete([key for _, _, key in found])
            sweeping.forget_objects(connection, found)
        after_s = self.settings.collect_after_s
        marked = sweeping.retire_abandoned(connection, after_s=after_s, limit=BATCH)
        return _told("objects", deleted=len(found), marked=marked)

    def drop_checkpoints(self, connection: Connection) -> str:
        """Deletes the states of half-done renders that nobody will go on from."""
        after_s = self.settings.collect_after_s
        found = checkpointing.useless(connection, after_s=after_s, limit=BATCH)
        if not found:
            return ""
        self.store.delete([key for *_, key in found])
        checkpointing.forget(connection, found)
        return f"deleted {len(found)} checkpoints"

    def drop_latents(self, connection: Connection) -> str:
        """Marks stage-one latents that nobody asked to keep any longer, for `collect` to delete."""
        return _told("latents", marked=sources.retire_latents(connection, jobs=JOBS, limit=BATCH))

    def drop_results(self, connection: Connection) -> str:
        """Takes images and files out of reach whose time is over; marks those of earlier sweeps, for `collect`."""
        images = retaining.clear_marked(connection, limit=BATCH)
        jobs = retaining.mark_due(connection, limit=BATCH)
        return ", ".join(filter(None, (_told("images", marked=images), _told("jobs", retired=jobs))))

    def drop_uploads(self, connection: Connection) -> str:
        """Deletes what was uploaded under links that have ended, used or not: jobs have it by content."""
        ids = uploads.expired(connection, after_s=self.settings.collect_after_s, limit=BATCH)
        if not ids:
            return ""
        self.store.delete([upload_key(upload) for upload in ids])
        uploads.forget(connection, ids)
        return f"deleted {len(ids)} uploads"

    def drop_files(self, connection: Connection) -> str:
        """Deletes files of clients whose time is over, and that nobody reads any more."""
        ids = files.expired(connection, after_s=self.settings.collect_after_s, limit=BATCH)
        if not ids:
            return ""
        self.store.delete([file_key(file) for file in ids])
        files.forget(connection, ids)
        return f"deleted {len(ids)} files"

    def drop_inputs(self, connection: Connection) -> str:
        """Deletes pictures that an earlier sweep has marked; marks those that no job has needed for long."""
        keep_s = DAY_S * self.settings.input_keep_days
        after_s = self.settings.collect_after_s
        shas = inputs.planned(connection, keep_s=keep_s, after_s=after_s, limit=BATCH)
        if shas:
            self.store.delete([input_key(sha256) for sha256 in shas])
            inputs.forget(connection, shas)
        marked = inputs.retire(connection, keep_s=keep_s, limit=BATCH)
        return _told("inputs", deleted=len(shas), marked=len(marked))

    def tidy_datasets(self, connection: Connection) -> str:
        """Deletes what is left over of datasets that rest, a page of objects at a time."""
        return self._tidying.sweep(connection)

    def empty_datasets(self, connection: Connection) -> str:
        """Deletes rows of datasets that were thrown away, and of which nothing lies in the bucket any more."""
        rows, datasets = emptying.empty_next(connection, limit=EMPTIED)
        return ", ".join(filter(None, (_told("rows", deleted=rows), _told("datasets", forgot=datasets))))

    def recheck_jobs(self, connection: Connection) -> str:
        """Ends jobs that a wrong counter would leave open."""
        ended = sweeping.end_settled(connection, self._checked_up_to)
        return f"ended {len(ended)} jobs" if ended else ""

    def count_storage(self, connection: Connection) -> str:
        """Counts what tenants with a quota of storage keep, those whose turn it is."""
        quota_rows.count_due(connection)
        return ""

    def expire_batches(self, connection: Connection) -> str:
        """Takes back what has not ended of batches whose time is over; `finish_cancels` ends their renders."""
        due = batches.expire(connection, limit=BATCH)
        for batch, tenant in due:
            told = {"line": None, "field": "batch", "message": "expired before its requests were checked"}
            sets.reject(connection, batch, told)
            cancelling.mark_cancelled(connection, batch, tenant=tenant)
        return f"took back {len(due)} batches" if due else ""

    def forget_deliveries(self, connection: Connection) -> str:
        """Deletes the rows of old deliveries, whatever came of them."""
        keep_s = DAY_S * self.settings.webhook_days
        return _told("deliveries", forgot=delivering.forget(connection, keep_s=keep_s, limit=FORGOTTEN))

    def rotate(self, connection: Connection) -> str:
        """Makes and drops partitions of the outbox; forgets old idempotency keys."""
        sweeping.rotate_outbox(connection, keep_days=self.settings.outbox_days)
        sweeping.forget_keys(connection)
        return ""


def _told(what: str, **counts: int) -> str:
    """`deleted 3 objects, marked 2 objects`; "" when nothing was done."""
    return ", ".join(f"{done} {count} {what}" for done, count in counts.items() if count)
