"""What users were promised: every job that was accepted ends, as it was asked for, and once."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from latentfarm.states import RenderState

if TYPE_CHECKING:
    from tests.chaos.evidence import Evidence

FINAL = {RenderState.SUCCEEDED, RenderState.FAILED, RenderState.CANCELLED}
_ENDS = ("job.succeeded", "job.failed", "job.cancelled")


def lost(evidence: Evidence) -> list[str]:
    """Accepted, and not in SQL."""
    there = {str(job["id"]) for job in evidence.jobs}
    return [
        f"job {line['job']} was accepted and is gone"
        for line in evidence.told("submit")
        if line["job"] is not None and line["job"] not in there
    ]


def stuck(evidence: Evidence) -> list[str]:
    """Not final although everything had been calm for long."""
    found = [
        f"render {row['id']} is {RenderState(row['state']).label}, stage {row['stage']}, starts {row['starts']}"
        for row in evidence.renders
        if row["state"] not in FINAL
    ]
    return found + [
        f"job {job['id']} is {job['state']}" for job in evidence.jobs if job["finished_at"] is None
    ]


def ended_once(evidence: Evidence) -> list[str]:
    """A job's counters, its state and its last event agree with its renders."""
    found = []
    states: dict[str, Counter[int]] = defaultdict(Counter)
    for row in evidence.renders:
        states[str(row["job_id"])][row["state"]] += 1
    ends: dict[str, list[str]] = defaultdict(list)
    for event in evidence.events:
        if event["type"] in _ENDS:
            ends[str(event["job_id"])].append(event["type"])
    for job in evidence.jobs:
        if job["finished_at"] is None:
            continue
        counts = states[str(job["id"])]
        if ends[str(job["id"])] != [f"job.{job['state']}"]:
            found.append(f"job {job['id']} is {job['state']}, its last events: {ends[str(job['id'])]}")
        if job["remaining"] or job["queued"] or job["failed"] != counts[RenderState.FAILED]:
            found.append(f"job {job['id']}: remaining {job['remaining']}, queued {job['queued']}")
        wanted = "failed" if job["failed"] else "succeeded"
        if job["state"] != ("cancelled" if job["cancelled_at"] else wanted):
            found.append(f"job {job['id']} is {job['state']} with {dict(counts)}")
    return found


def unasked(evidence: Evidence) -> list[str]:
    """Jobs that nobody submitted."""
    asked = set(evidence.plan_of_jobs())
    return [
        f"job {job['id']} was asked for by nobody" for job in evidence.jobs if str(job["id"]) not in asked
    ]


def one_job_per_key(evidence: Evidence) -> list[str]:
    """However often a key came, it is one job, and each answer names it."""
    stored = {row["key"]: str(row["job_id"]) for row in evidence.keys}
    found = [
        f"{line['key']}: answered {line['job']}, stored {stored.get(line['key'])}"
        for line in evidence.told("submit")
        if line["job"] is not None and stored.get(line["key"]) != line["job"]
    ]
    refused = [line for line in evidence.told("submit") if line["status"] not in (None, 202)]
    return found + [f"{line['key']} was refused with {line['status']}" for line in refused]


def complete(evidence: Evidence) -> list[str]:
    """Exactly the images that were asked for."""
    ordinals: dict[str, list[int]] = defaultdict(list)
    for row in evidence.renders:
        ordinals[str(row["job_id"])].append(row["ordinal"])
    return [
        f"job {job} has images {sorted(ordinals[job])}"
        for job, plan in evidence.plan_of_jobs().items()
        if sorted(ordinals[job]) != list(range(plan["body"]["num_images"]))
    ]


def poison(evidence: Evidence) -> list[str]:
    """A render that nobody can make ends as failed, with a reason."""
    plans = evidence.plan_of_jobs()
    reasons = {row["render_id"] for row in evidence.attempts if row["error_class"]}
    return [
        f"render {row['id']} ({plans[str(row['job_id'])]['poison']}) is {RenderState(row['state']).label}"
        for row in evidence.renders
        if plans.get(str(row["job_id"]), {}).get("poison")
        and row["state"] in FINAL
        and not (row["state"] == RenderState.FAILED and row["id"] in reasons)
    ]


def healthy(evidence: Evidence) -> list[str]:
    """Whatever dies around it, a render that can be made is made."""
    plans = evidence.plan_of_jobs()
    stories: dict[int, list[str]] = defaultdict(list)
    for row in evidence.attempts:
        stories[row["render_id"]].append(
            f"{row['outcome']} {row['error_class'] or ''}: {row['message'] or ''}"
        )
    return [
        f"render {row['id']} failed after {row['starts']} starts: {stories[row['id']]}"
        for row in evidence.renders
        if row["state"] == RenderState.FAILED and not plans.get(str(row["job_id"]), {}).get("poison")
    ]


def cancelled(evidence: Evidence) -> list[str]:
    """A user who was told that it is cancelled gets no image after that; nobody else's job is cancelled."""
    asked = {line["job"]: line for line in evidence.told("cancel")}
    planned = {job for job, plan in evidence.plan_of_jobs().items() if plan["cancel_after_s"] is not None}
    states = {str(job["id"]): job["state"] for job in evidence.jobs}
    images = {
        row["render_id"] for row in evidence.objects if row["kind"] == "image" and row["state"] == "visible"
    }
    found = [
        f"render {row['id']} is cancelled and has an image"
        for row in evidence.renders
        if row["state"] == RenderState.CANCELLED and row["id"] in images
    ]
    found += [
        f"job {job}: the user was told {line['state']}, now it is {states.get(job)}"
        for job, line in asked.items()
        if line["state"] == "cancelled" and states.get(job) != "cancelled"
    ]
    return found + [
        f"job {job} is cancelled, which nobody asked for"
        for job, state in states.items()
        if state == "cancelled" and job not in planned
    ]
