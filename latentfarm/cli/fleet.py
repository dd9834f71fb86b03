"""`latentfarm status | drain | resume`: workers and queues, for whoever operates the farm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from latentfarm.cli.output import Api, Json, as_json, columns, say
from latentfarm.client import Client
from latentfarm.retention import at

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latentfarm.fleet_views import QueueView, WorkerView

drain = typer.Typer(help="Let a worker or a queue run empty, and give it nothing new.", no_args_is_help=True)
resume = typer.Typer(help="Let what was drained go on.", no_args_is_help=True)

Worker = Annotated[
    str,
    typer.Argument(
        help="Id of a worker, a host, a device, or HOST/DEVICE; all that fit are meant.", metavar="WORKER"
    ),
]
Queue = Annotated[str, typer.Argument(help="Name of a queue, such as base.sdxl.bulk.", metavar="QUEUE")]


def status(api: Api = None, json_: Json = False) -> None:
    """Show the workers and queues of the farm, and which of them are drained."""
    with Client(api) as client:
        workers, queues = client.fleet.workers(), client.fleet.queues()
    if json_:
        as_json(
            {
                "workers": [one.model_dump(mode="json") for one in workers],
                "queues": [one.model_dump(mode="json") for one in queues],
            }
        )
        return
    _show_workers(workers)
    _show_queues(queues)


@drain.command("worker")
def drain_worker(worker: Worker, api: Api = None, json_: Json = False) -> None:
    """Let devices deliver or save what they hold; they rest then, also when they are started again."""
    with Client(api) as client:
        _tell_workers(client.fleet.drain_worker(worker), json_=json_)


@drain.command("queue")
def drain_queue(queue: Queue, api: Api = None, json_: Json = False) -> None:
    """Send nothing more out of a queue. What is sent already is rendered."""
    with Client(api) as client:
        _tell_queue(client.fleet.drain_queue(queue), json_=json_)


@resume.command("worker")
def resume_worker(worker: Worker, api: Api = None, json_: Json = False) -> None:
    """Let drained devices work again."""
    with Client(api) as client:
        _tell_workers(client.fleet.resume_worker(worker), json_=json_)


@resume.command("queue")
def resume_queue(queue: Queue, api: Api = None, json_: Json = False) -> None:
    """Let a drained queue go on."""
    with Client(api) as client:
        _tell_queue(client.fleet.resume_queue(queue), json_=json_)


def _tell_workers(workers: Sequence[WorkerView], *, json_: bool) -> None:
    if json_:
        as_json([one.model_dump(mode="json") for one in workers])
    elif workers:
        _show_workers(workers)
    else:
        say("nobody serves them at this moment")


def _tell_queue(queue: QueueView, *, json_: bool) -> None:
    if json_:
        as_json(queue.model_dump(mode="json"))
    else:
        _show_queues([queue])


def _show_workers(workers: Sequence[WorkerView]) -> None:
    columns(
        [
            (
                "worker" if one.id is not None else "device",
                "-" if one.id is None else str(one.id),
                f"{one.host}/{one.device}",
                one.state,
                ",".join(one.stages) or "-",
                ",".join(one.models) or "-",
                f"{one.running} running{_since(one)}",
            )
            for one in workers
        ]
    )


def _show_queues(queues: Sequence[QueueView]) -> None:
    columns(
        [
            (
                "queue",
                one.name,
                f"{one.queued} queued",
                f"{one.dispatched} sent",
                f"{one.running} running{_since(one)}",
            )
            for one in queues
        ]
    )


def _since(one: WorkerView | QueueView) -> str:
    return "" if one.drained_at is None else f", drained since {at(one.drained_at)}"
