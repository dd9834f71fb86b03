"""The invariants of the protocol, each a function from the evidence of a run to its breaches.

Numbers in the names of `INVARIANTS` are those of the protocol; 12 (webhooks) has a test of its own, 13 (quota) waits for its
feature, 16 (leaks) for the soak.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.chaos import invariants_jobs, invariants_moves, invariants_objects

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.chaos.evidence import Evidence

INVARIANTS: dict[str, Callable[[Evidence], list[str]]] = {
    "1 lost": invariants_jobs.lost,
    "1 stuck": invariants_jobs.stuck,
    "1 ended once": invariants_jobs.ended_once,
    "2 unasked": invariants_jobs.unasked,
    "2 one job per key": invariants_jobs.one_job_per_key,
    "3 complete": invariants_jobs.complete,
    "3 duplicates visible": invariants_objects.duplicates,
    "4 objects": invariants_objects.objects,
    "5 pictures": invariants_objects.pictures,
    "6 orphans": invariants_objects.orphans,
    "7 one lease": invariants_moves.one_lease,
    "7 stale commits": invariants_moves.stale_commits,
    "7 early rescues": invariants_moves.early_rescues,
    "8 state graph": invariants_moves.state_graph,
    "8 jobs": invariants_moves.job_graph,
    "9 starts and tries": invariants_moves.starts_and_tries,
    "9 poison": invariants_jobs.poison,
    "9 healthy": invariants_jobs.healthy,
    "10 cancelled": invariants_jobs.cancelled,
    "11 one refine per base": invariants_moves.one_refine_per_base,
}
NOT_BUILT = {
    "12 webhooks": "a test of its own kills those who send them: tests/acceptance/test_webhooks.py",
    "13 quota": "the farm has none yet",
    "16 leaks": "a matter of the soak, not of this run",
}


def check(evidence: Evidence) -> dict[str, list[str]]:
    """Every invariant and its breaches."""
    return {name: judge(evidence) for name, judge in INVARIANTS.items()}
