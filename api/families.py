"""The metric families of the farm, made from plain records."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from latentfarm.dispatch import WINDOW_CHUNKS
from latentfarm.messages import CHUNK
from latentfarm.records import Queue
from latentfarm.states import LIVE, RenderState, Stage

Worker = Mapping[str, Any]

#: Counter of an engine -> (metric, what it says).
_COUNTED = {
    "forwards": ("latentfarm_engine_forwards", "UNet forwards."),
    "rows": ("latentfarm_engine_occupied_rows", "Occupied rows over all forwards."),
    "bucket_rows": ("latentfarm_engine_bucket_rows", "Rows that the buckets of those forwards hold."),
    "full_rows": (
        "latentfarm_engine_full_occupied_rows",
        "Occupied rows while 8 or more samples of a group were in flight.",
    ),
    "full_bucket_rows": ("latentfarm_engine_full_bucket_rows", "Rows that those buckets hold."),
    "steps": ("latentfarm_engine_steps", "Denoising steps over all samples."),
    "busy_s": ("latentfarm_engine_busy_seconds", "Seconds in forwards and steps."),
}
_LABELS = ("model", "stage", "device")


def queues(
    known: Iterable[Queue], counts: Iterable[tuple[str, RenderState, int]], workers: Sequence[Worker]
) -> list[Metric]:
    """Renders that wait or run, and how many of them Redis may hold, per queue."""
    depth = GaugeMetricFamily(
        "latentfarm_queue_depth", "Renders that are not final.", labels=("queue", "state")
    )
    window = GaugeMetricFamily(
        "latentfarm_queue_window", "Most renders that may be dispatched at once.", labels=("queue",)
    )
    wait = GaugeMetricFamily(
        "latentfarm_queue_wait_seconds", "From message to claim, in the last minute.", labels=("queue",)
    )
    found = {(name, state): number for name, state, number in counts}
    for queue in known:
        for state in sorted(LIVE):
            depth.add_metric((queue.name, state.label), found.get((queue.name, state), 0))
        window.add_metric((queue.name,), _window(queue, workers))
        wait.add_metric((queue.name,), queue.wait_s)
    return [depth, window, wait]


def _window(queue: Queue, workers: Sequence[Worker]) -> int:
    """As dispatch reckons it: so much for each worker, more where it can hold many, and for one while there is none."""
    least = WINDOW_CHUNKS * CHUNK
    serving = [worker["info"] for worker in workers if _serves(worker, queue)]
    return max(least, sum(max(least, 2 * int(info.get("capacity", 0))) for info in serving))


def leases(workers: Sequence[Worker]) -> list[Metric]:
    """Incarnations: how many, how many are warm, and how long each may go on without a word."""
    up = GaugeMetricFamily("latentfarm_workers_up", "Live incarnations.", labels=("stage", "device"))
    ready = GaugeMetricFamily("latentfarm_workers_ready", "Those that are warm.", labels=("stage", "device"))
    left = GaugeMetricFamily(
        "latentfarm_lease_left_seconds",
        "Until the renders are taken back.",
        labels=("worker", "host", "device"),
    )
    live: dict[tuple[str, str], int] = defaultdict(int)
    warm: dict[tuple[str, str], int] = defaultdict(int)
    for worker in workers:
        alive = worker["lease_left_s"] > 0
        for stage in worker["stages"]:
            live[Stage(stage).label, worker["device"]] += alive
            warm[Stage(stage).label, worker["device"]] += alive and worker["ready"]
        left.add_metric((str(worker["id"]), worker["host"], worker["device"]), worker["lease_left_s"])
    for family, values in ((up, live), (ready, warm)):
        for labels, value in values.items():
            family.add_metric(labels, value)
    return [up, ready, left]


def models(loads: Mapping[str, int], workers: Sequence[Worker]) -> list[Metric]:
    """How often each model was loaded, and how many live workers are to hold it."""
    loaded = CounterMetricFamily(
        "latentfarm_model_loads", "Times that a worker loaded the model.", labels=("model",)
    )
    held = GaugeMetricFamily(
        "latentfarm_model_workers", "Live workers that are to hold the model.", labels=("model",)
    )
    holding = Counter(
        model
        for worker in workers
        if worker["lease_left_s"] > 0
        for model in worker["assigned_models"]
        if model
    )
    for model, number in loads.items():
        loaded.add_metric((model,), number)
    for model in sorted({*loads, *holding}):
        held.add_metric((model,), holding[model])
    return [loaded, held]


def resting(devices: int) -> Metric:
    """Devices that failed several renders, and rest."""
    return GaugeMetricFamily(
        "latentfarm_devices_resting", "Devices that are at rest for failing renders.", value=devices
    )


def drained(queues: Mapping[str, object], devices: int) -> list[Metric]:
    """What an operator has drained: it gets nothing new."""
    family = GaugeMetricFamily(
        "latentfarm_queue_drained", "1: nothing more is sent from the queue.", labels=("queue",)
    )
    for name, since in queues.items():
        family.add_metric((name,), 0 if since is None else 1)
    told = "Devices that get nothing new until they are resumed."
    return [family, GaugeMetricFamily("latentfarm_devices_drained", told, value=devices)]


def engines(workers: Sequence[Worker]) -> list[Metric]:
    """What the engines count, summed over live incarnations of the same models, stages and device."""
    sums: dict[tuple[str, ...], dict[str, float]] = defaultdict(lambda: defaultdict(float))
    parts: dict[tuple[str, ...], dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for worker in workers:
        counters = worker["info"].get("counters", {})
        for name in _COUNTED:
            sums[_labels(worker)][name] += counters.get(name, 0)
        for part, seconds in counters.get("stage_s", {}).items():
            parts[_labels(worker)][part] += seconds
    return [*_totals(sums), _occupancy(sums), _stage_times(parts)]


def ends(reasons: Mapping[str, int]) -> Metric:
    """Incarnations that ended, by reason: drained, lease expired, ..."""
    family = CounterMetricFamily(
        "latentfarm_worker_ends", "Incarnations that have ended.", labels=("reason",)
    )
    for reason, number in reasons.items():
        family.add_metric((reason[:80],), number)
    return family


def deliveries(due: int, overdue: int) -> list[Metric]:
    """What receivers of webhooks are still to be told."""
    late = "Deliveries of webhooks whose next try should have been made a minute ago."
    return [
        GaugeMetricFamily("latentfarm_deliveries_due", "Deliveries that wait for a try.", value=due),
        GaugeMetricFamily("latentfarm_deliveries_overdue", late, value=overdue),
    ]


def _serves(worker: Worker, queue: Queue) -> bool:
    fits = int(queue.stage) in worker["stages"] and queue.model in worker["assigned_models"]
    return fits and worker["lease_left_s"] > 0 and not worker["drained"]


def _labels(worker: Worker) -> tuple[str, ...]:
    stages = ",".join(Stage(stage).label for stage in sorted(worker["stages"]))
    return ",".join(sorted(worker["assigned_models"])), stages, worker["device"]


def _totals(sums: Mapping[tuple[str, ...], Mapping[str, float]]) -> list[Metric]:
    families: list[Metric] = []
    for name, (metric, help_text) in _COUNTED.items():
        family = CounterMetricFamily(metric, help_text, labels=_LABELS)
        for labels, values in sums.items():
            family.add_metric(labels, values[name])
        families.append(family)
    return families


def _occupancy(sums: Mapping[tuple[str, ...], Mapping[str, float]]) -> Metric:
    family = GaugeMetricFamily(
        "latentfarm_engine_occupancy",
        "Mean share of occupied rows while 8 or more samples of a group were in flight.",
        labels=_LABELS,
    )
    for labels, values in sums.items():
        if values["full_bucket_rows"]:
            family.add_metric(labels, values["full_rows"] / values["full_bucket_rows"])
    return family


def _stage_times(parts: Mapping[tuple[str, ...], Mapping[str, float]]) -> Metric:
    family = CounterMetricFamily(
        "latentfarm_part_seconds", "Seconds per part of the work.", labels=(*_LABELS, "part")
    )
    for labels, values in parts.items():
        for part, seconds in values.items():
            family.add_metric((*labels, part), seconds)
    return family


def limiting(refused: Mapping[str, int], errors: int) -> list[Metric]:
    """Requests that this process turned away for how often they came, and those that passed uncounted."""
    turned_away = CounterMetricFamily(
        "latentfarm_rate_limited",
        "Requests refused by a rate, or by wrong keys of their address.",
        labels=["why"],
    )
    for why, count in sorted(refused.items()):
        turned_away.add_metric([why], count)
    uncounted = CounterMetricFamily(
        "latentfarm_rate_limit_errors",
        "Requests that passed uncounted, since Redis did not answer.",
        value=errors,
    )
    return [turned_away, uncounted]
