"""`latentfarm up`: a whole farm on this machine, until Ctrl-C."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from latentfarm.cli.output import Json, as_json, complain, say
from latentfarm.embedded.errors import StackError
from latentfarm.embedded.farm import Farm
from latentfarm.embedded.stack import Stack
from latentfarm.errors import InvalidInput
from latentfarm.states import parse_stages

if TYPE_CHECKING:
    from types import FrameType

    from rich.table import Table

    from latentfarm.embedded.program import Status
    from latentfarm.embedded.supervisor import Supervisor

ROOT = Path(__file__).resolve().parents[2]
LOOK_S = 0.5

app = typer.Typer(rich_markup_mode=None, add_completion=False, pretty_exceptions_enable=False)


@app.command()
def up(
    *,
    folder: Annotated[Path, typer.Option(help="Data and logs of the farm.")] = Path(".latentfarm"),
    port: Annotated[
        int, typer.Option(help="Port of the API; another one is taken when it is in use.")
    ] = 8400,
    worker: Annotated[
        list[str] | None,
        typer.Option(
            help="Stages of a worker: base, refine, base,refine or seal. Repeat for more workers; one that seals"
            " is always there."
        ),
    ] = None,
    devices: Annotated[str, typer.Option(help="all, cpu, mps, or a list such as cuda:0,cuda:1.")] = "all",
    json_: Json = False,
) -> None:
    """Start PostgreSQL, Redis, S3, API, scheduler and workers here, and a packer of datasets; stop them all on Ctrl-C.

    With --json: one line with the farm's settings once everything is ready.
    """
    workers = worker or ["base,refine"]
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        for stages in workers:
            parse_stages(stages)
        run(folder, port=port, workers=workers, devices=devices, json_=json_)
    except (StackError, InvalidInput) as error:
        complain(str(error))
        raise typer.Exit(1) from error
    except KeyboardInterrupt:
        complain("stopped")


def run(folder: Path, *, port: int, workers: list[str], devices: str, json_: bool) -> None:
    """Starts a farm and shows it until interrupted; nothing is left running afterwards."""
    complain(f"starting; data and logs are in {folder.resolve()}")
    with Stack(folder) as stack:
        farm = Farm(stack, ROOT, port=port, workers=workers, devices=devices)
        farm.start()
        if json_:
            as_json(farm.environment())
            sys.stdout.flush()
        else:
            say(f"ready: {farm.url} (press Ctrl-C to stop)")
            if port != farm.port:
                say(f"port {port} is in use; in other shells: export LATENTFARM_API_URL={farm.url}")
        watch(stack.supervisor)


def watch(supervisor: Supervisor) -> None:
    """Shows the state of every part: a table in a terminal, else a line for each change."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.live import Live

        with Live(console=Console(stderr=True), auto_refresh=False) as live:
            while True:
                live.update(_table(supervisor.snapshot()), refresh=True)
                time.sleep(LOOK_S)
    before: dict[str, tuple[str, int]] = {}
    while True:
        for status in supervisor.snapshot():
            now = (status.state.value, status.restarts)
            if before.get(status.name) != now:
                complain(f"{status.name}: {status.state.value}, {status.restarts} restarts")
                before[status.name] = now
        time.sleep(LOOK_S)


def _table(statuses: list[Status]) -> Table:
    from rich.table import Table

    table = Table("part", "state", "pid", "restarts", "for", box=None)
    for status in statuses:
        minutes, seconds = divmod(int(time.time() - status.since), 60)
        cells = (status.name, status.error or status.state.value, str(status.pid or ""), str(status.restarts))
        table.add_row(*cells, f"{minutes}:{seconds:02d}")
    return table


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    # During the stop a second signal is ignored: everything has its own deadline.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt
