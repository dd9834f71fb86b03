"""`latentfarm models`: what specs may name."""

from __future__ import annotations

import typer

from latentfarm.cli.output import Api, Json, as_json, columns
from latentfarm.client import Client

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
