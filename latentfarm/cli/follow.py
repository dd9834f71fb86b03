"""Follows a job to its end: a bar with steps and time left, when there is a terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from latentfarm.cli.output import complain

if TYPE_CHECKING:
    from rich.progress import Progress

    from latentfarm.client import Client
    from latentfarm.views import EventView, JobView

INTERRUPTED = 130


class Interrupted(Exception):  # noqa: N818 - no error: the user has seen enough
    """Ctrl-C while a job was followed. The job goes on."""


def follow(client: Client, job: JobView) -> JobView:
    """Returns the job once it has ended.

    Raises:
        Interrupted: Ctrl-C.
    """
    try:
        if sys.stderr.isatty():
            _with_bar(client, job)
        return client.wait(job)
    except KeyboardInterrupt:
        complain(
            f"the job goes on; see `latentfarm jobs watch {job.id}`, or `latentfarm jobs cancel {job.id}`"
        )
        raise Interrupted from None


def _with_bar(client: Client, job: JobView) -> None:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bar

    parts = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("steps"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    steps = Steps(job)
    with Bar(*parts, console=Console(stderr=True), transient=True) as bar:
        _run(client, job, steps, bar)


def _run(client: Client, job: JobView, steps: Steps, bar: Progress) -> None:
    task = bar.add_task("queued", total=steps.total)
    for event in client.events(job):
        steps.take(event)
        description = f"{steps.images_done}/{job.num_images} images"
        bar.update(task, completed=steps.done, total=steps.total, description=description)


class Steps:
    """Counts the steps of all images of a job, from events of which some may be missing."""

    def __init__(self, job: JobView) -> None:
        self._stages = stages(job.spec)
        if job.kind == "refine":
            self._stages.pop("base", None)
        self._at: dict[int, int] = {}
        self._images = job.num_images
        self._ended: set[int] = set()

    @property
    def per_image(self) -> int:
        """Steps of one image over its stages."""
        return max(1, sum(self._stages.values()))

    @property
    def total(self) -> int:
        """Steps of the whole job."""
        return self.per_image * self._images

    @property
    def done(self) -> int:
        """Steps taken, as far as is known."""
        return sum(self._at.values())

    @property
    def images_done(self) -> int:
        """Images that are final, as far as is known."""
        return len(self._ended)

    def take(self, event: EventView) -> None:
        """Counts one event."""
        if event.type == "job.succeeded":
            self._ended.update(range(self._images))
            self._at = dict.fromkeys(range(self._images), self.per_image)
        elif event.type in ("image.succeeded", "image.failed"):
            index = int(event.data["index"])
            self._ended.add(index)
            self._at[index] = self.per_image
        elif event.type == "progress" and event.data["index"] not in self._ended:
            self._step(event.data)

    def _step(self, data: dict[str, Any]) -> None:
        stage, step = str(data["stage"]), int(data["step"])
        # The worker knows better: a schedule of one's own may have more or fewer steps.
        self._stages[stage] = int(data["total"])
        before = self._stages.get("base", 0) if stage == "refine" else 0
        self._at[int(data["index"])] = min(before + step, self.per_image)


def stages(spec: dict[str, Any]) -> dict[str, int]:
    """How many steps each stage will take, before a worker has said so."""
    steps = len(spec.get("timesteps") or spec.get("sigmas") or ()) or int(spec["num_inference_steps"])
    refiner, share = spec.get("refiner"), spec.get("strength")
    base = steps if share is None else int(steps * share)
    if refiner is None:
        return {"base": base}
    if refiner["mode"] == "ensemble":
        last = steps - round(steps * (refiner["high_noise_frac"] or 0.8))
        return {"base": max(base - last, 1), "refine": last}
    own = refiner.get("num_inference_steps") or steps
    again = {"refine": int(own * (refiner.get("strength") or 0.3))}
    return again if refiner["mode"] == "only" else {"base": base, **again}
