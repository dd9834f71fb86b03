"""`latentfarm models`: what specs may name."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from latentfarm.cli.output import Api, Json, as_json, columns, complain
from latentfarm.client import Client

if TYPE_CHECKING:
    from pathlib import Path

    from latentfarm.registry import ModelEntry

app = typer.Typer(help="The models of the farm.", no_args_is_help=True)


@app.callback()
def models() -> None:
    """The models of the farm."""


@app.command("list")
def list_(api: Api = None, json_: Json = False) -> None:
    """List the models: native size, limits, refiner, LoRAs, embeddings, and how many warm workers serve each stage."""
    with Client(api) as client:
        found = client.models()
    if json_:
        as_json({"object": "list", "data": [model.model_dump(mode="json") for model in found]})
        return
    rows = [("model", "native", "sides", "refiner", "sampler", "LoRAs", "embeddings", "ready workers")]
    for model in found:
        ready = ", ".join(f"{number} {stage}" for stage, number in model.ready_workers.items() if number)
        rows.append(
            (
                model.id,
                "x".join(map(str, model.native_size)),
                f"{model.min_size}-{model.max_size}",
                "yes" if model.refiner else "no",
                model.default_sampler,
                ", ".join(model.loras) or "none",
                ", ".join(model.embeddings.values()) or "none",
                ready or "none",
            )
        )
    columns(rows)


@app.command()
def pull(name: Annotated[str, typer.Argument(help="A name in models.toml.")]) -> None:
    """Fetch a model's files from the hub, at the commits that models.toml names, and record their digests.

    Nothing else ever downloads: a job whose model is not there fails and says so.
    """
    from latentfarm.lockfile import digests_of, write_lock
    from latentfarm.pulling import orders_of
    from latentfarm.pulling import pull as fetch

    (entry,), lock = _entries(name)
    orders = orders_of(entry)
    for order in orders:
        complain(f"{order.part}: {order.place}")
        sys.stdout.write(f"{fetch(order)}\n")
    if not orders:
        complain(f"model {name} comes from local files alone; nothing to fetch")
    write_lock(lock, name, digests_of(entry))


@app.command()
def check(
    name: Annotated[str | None, typer.Argument(help="A name in models.toml; all without it.")] = None,
    record: Annotated[bool, typer.Option("--record", help="Record the digests as they are now.")] = False,
) -> None:
    """Check a model's files: there, whole, of the recorded digests, and of the shapes their configs say.

    Exits with 1 when something is wrong.
    """
    from latentfarm.lockfile import altered, digests_of, read_lock, write_lock

    entries, lock = _entries(name)
    failed = False
    for entry in entries:
        if entry.optional and not entry.here and name is None:
            sys.stdout.write(f"{entry.name}: not on this machine; `latentfarm models pull {entry.name}`\n")
            continue
        found = digests_of(entry)
        locked = read_lock(lock).get(entry.name, {})
        wrong = [] if record else altered(entry, found, locked)
        wrong += _unloadable(entry.name)
        for line in wrong:
            sys.stdout.write(f"{entry.name}: {line}\n")
        if not wrong:
            files = sum(map(len, found.values()))
            state = (
                "as recorded" if locked and not record else "recorded" if record else "not recorded before"
            )
            sys.stdout.write(f"{entry.name}: {files} files are right, {state}\n")
            if record:
                write_lock(lock, entry.name, found)
        failed = failed or bool(wrong)
    if failed:
        raise typer.Exit(1)


def _entries(name: str | None) -> tuple[list[ModelEntry], Path]:
    from latentfarm.lockfile import NAME
    from latentfarm.registry import load_registry
    from latentfarm.settings import Settings

    file = Settings().models_file
    registry = load_registry(file)
    chosen = list(registry.entries.values()) if name is None else [registry.get(name)]
    return chosen, file.with_name(NAME)


def _unloadable(name: str) -> list[str]:
    """What the room that knows the networks says; it is asked as a process of its own."""
    ran = subprocess.run(
        [sys.executable, "-m", "worker.examine", name], capture_output=True, text=True, check=False
    )
    if ran.returncode not in {0, 1}:
        last = (ran.stderr.strip().splitlines() or ["no word"])[-1]
        return [f"shapes could not be checked here: {last}"]
    return ran.stdout.splitlines()
