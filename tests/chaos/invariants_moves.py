"""What the trace of every move shows: the state machine, leases, fences, hand-overs, starts and tries."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import groupby, pairwise
from operator import itemgetter
from typing import TYPE_CHECKING

from latentfarm.retry import MAX_STARTS, MAX_TRIES
from latentfarm.states import BEGINNINGS, FINAL_JOB, LIVE, RenderState, may_follow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.chaos.evidence import Evidence, Row

BASE, REFINE = 0, 1
PARENTS = {"node_kill", "freeze", "terminate", "clock"}
"""Faults after which nobody renews a lease."""
AWAY_S = 90.0
"""A parent that could not tell PostgreSQL that its child is dead leaves that to the end of the lease."""
_JOB_MOVES = {(None, "queued"), ("queued", "running")} | {
    (was, state) for was in ("queued", "running") for state in ("succeeded", "failed", "cancelled")
}


def _by_render(rows: list[Row]) -> Iterator[tuple[int, list[Row]]]:
    for render, group in groupby(sorted(rows, key=itemgetter("render_id")), key=itemgetter("render_id")):
        yield render, list(group)


def _is_hand_over(move: Row) -> bool:
    return bool(move["was_stage"] == BASE and move["stage"] == REFINE)


def state_graph(evidence: Evidence) -> list[str]:
    """Only declared moves; what is final stays; a fence never falls, and rises with every claim and return."""
    found = []
    for move in evidence.moves:
        was, state, render = move["was"], move["state"], move["render_id"]
        if state is None:
            found.append(f"render {render} was deleted")
        elif was is None:
            if RenderState(state) not in BEGINNINGS:
                found.append(f"render {render} began as {RenderState(state).label}")
        elif was != state and not _may_follow(RenderState(was), RenderState(state)):
            found.append(f"render {render}: {RenderState(was).label} -> {RenderState(state).label}")
        elif was == state and (move["was_owner"], move["was_fence"]) != (move["owner"], move["fence"]):
            found.append(f"render {render} changed hands while {RenderState(state).label}")
        elif move["fence"] < move["was_fence"] or (move["fence"] == move["was_fence"] and _must_rise(move)):
            found.append(f"render {render}: fence {move['was_fence']} -> {move['fence']} at {was} -> {state}")
    return found


def _may_follow(was: RenderState, state: RenderState) -> bool:
    """Nobody asks for `retry-failed` or a repair in a run, and no dataset wants an image again: what is final stays."""
    return was in LIVE and may_follow(was, state)


def _must_rise(move: Row) -> bool:
    was, state = RenderState(move["was"]), RenderState(move["state"])
    if was is state:
        return False
    return state is RenderState.RUNNING or (was is RenderState.RUNNING and state is not RenderState.SUCCEEDED)


def job_graph(evidence: Evidence) -> list[str]:
    """The same for jobs."""
    return [
        f"job {move['job_id']}: {move['was']} -> {move['state']}"
        for move in evidence.job_moves
        if (move["was"], move["state"]) not in _JOB_MOVES or move["was"] in FINAL_JOB
    ]


def one_lease(evidence: Evidence) -> list[str]:
    """The claims of one render follow each other, and each has ended."""
    found = []
    for render, attempts in _by_render(evidence.attempts):
        ordered = sorted(attempts, key=itemgetter("fence"))
        for one, next_one in pairwise(ordered):
            if one["ended_at"] is None or one["ended_at"] > next_one["started_at"]:
                found.append(f"render {render}: fence {one['fence']} runs beside {next_one['fence']}")
        if ordered[-1]["ended_at"] is None:
            found.append(f"render {render}: attempt {ordered[-1]['fence']} has no end")
    return found


def stale_commits(evidence: Evidence) -> list[str]:
    """What became visible was made under the very fence that held the render then."""
    accepted = {
        (move["render_id"], move["was_fence"])
        for move in evidence.moves
        if move["was"] == RenderState.RUNNING
        and (move["state"] == RenderState.SUCCEEDED or _is_hand_over(move))
    }
    shown = {(row["render_id"], row["fence"]) for row in evidence.objects if row["state"] == "visible"}
    closed = {
        (row["render_id"], row["fence"])
        for row in evidence.attempts
        if row["outcome"] in ("succeeded", "handed_over")
    }
    return [
        *(f"render {pair[0]}: fence {pair[1]} shows an object and held nothing" for pair in shown - accepted),
        *(f"render {pair[0]}: fence {pair[1]} ended well and held nothing" for pair in closed - accepted),
    ]


def early_rescues(evidence: Evidence) -> list[str]:
    """A lease that ended had a reason: its worker was frozen, killed, or kept from the database."""
    hit = {line["parent"] for line in evidence.told("fault") if line["fault"] in PARENTS}
    away = [line["t"] for line in evidence.told("fault") if str(line["fault"]).startswith("postgres")]
    return [
        f"incarnation {row['id']} lost its lease, and nothing had happened to it"
        for row in evidence.workers
        if row["end_reason"] == "lease expired"
        and row["pid"] not in hit
        and not any(0 <= row["ended_at"].timestamp() - moment < AWAY_S for moment in away)
    ]


def starts_and_tries(evidence: Evidence) -> list[str]:
    """No render starts more often than the cap, nor is charged more, nor starts without being counted."""
    claims = Counter(row["render_id"] for row in evidence.attempts if row["outcome"] != "released")
    found = []
    for row in evidence.renders:
        if row["starts"] > MAX_STARTS or claims[row["id"]] > MAX_STARTS or row["tries"] > MAX_TRIES:
            count = claims[row["id"]]
            found.append(f"render {row['id']}: {row['starts']} starts, {count} claims, {row['tries']} tries")
    return found + [
        f"render {move['render_id']} runs and no start was counted"
        for move in evidence.moves
        if (move["was"], move["state"]) == (RenderState.DISPATCHED, RenderState.RUNNING)
        and not move["starts"]
    ]


def one_refine_per_base(evidence: Evidence) -> list[str]:
    """Each base that ended well is followed by one refine stage, whose latents are there."""
    queued: dict[int, list[int]] = defaultdict(list)
    rewound: Counter[int] = Counter()
    for move in evidence.moves:
        if move["was"] is not None and move["state"] is not None:
            if _is_hand_over(move):
                queued[move["render_id"]].append(move["was_fence"])
            elif (move["was_stage"], move["stage"]) == (REFINE, BASE):
                rewound[move["render_id"]] += 1
    done: dict[int, list[int]] = defaultdict(list)
    for row in evidence.attempts:
        if row["outcome"] == "handed_over":
            done[row["render_id"]].append(row["fence"])
    shown = {
        (row["render_id"], row["fence"])
        for row in evidence.objects
        if row["kind"] == "latents" and row["state"] == "visible"
    }
    found = [f"render {render} went back to its base stage" for render in rewound]
    for render in queued.keys() | done.keys():
        if queued[render] != done[render] or len(queued[render]) != 1:
            found.append(f"render {render}: refine queued at {queued[render]}, base ended at {done[render]}")
        found += [
            f"render {render}: the latents of fence {fence} are not shown"
            for fence in queued[render]
            if (render, fence) not in shown
        ]
    return found
