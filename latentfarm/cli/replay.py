"""`latentfarm replay`: renders what a file says it is once more, and compares."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - Typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latentfarm.cli.follow import follow
from latentfarm.cli.output import Api, Json, as_json, complain, say
from latentfarm.client import Client
from latentfarm.errors import InvalidInput, LatentfarmError, NotFound
from latentfarm.pixels import largest_difference, open_picture
from latentfarm.provenance import read_provenance

if TYPE_CHECKING:
    from collections.abc import Mapping

    from latentfarm.views import ModelView

#: Notes that say what the bits depend on besides spec and seed.
_NOTES = ("model_hash", "refiner_hash", "bucket", "dtype", "device", "threads", "versions")
_HASHES = {"model_hash": "base", "refiner_hash": "refine"}


def replay(
    file: Annotated[Path, typer.Argument(help="An image that this farm, or one like it, has made.")],
    *,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Where to save the new image.")] = None,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Also with another bucket or other weights than recorded.")
    ] = False,
    api: Api = None,
    json_: Json = False,
) -> None:
    """Render an image again from what it says about itself, and compare the pixels.

    Prints "bit-equal", or the largest difference and what is not as it was. Exits with 1 when not equal.
    """
    try:
        data = file.read_bytes()
    except OSError as error:
        raise InvalidInput("file", f"cannot read {file}: {error.strerror}") from error
    recorded = read_provenance(data)
    with Client(api) as client:
        unlike = _unlike(client, recorded)
        if unlike and not anyway:
            raise LatentfarmError(f"{'; '.join(unlike)} (--anyway renders all the same)")
        again = _render(client, recorded)
    if out is not None:
        out.write_bytes(again)
    difference = largest_difference(open_picture(data), open_picture(again))
    changed = _changed(recorded, read_provenance(again))
    if json_:
        as_json({"bit_equal": not difference, "largest_difference": difference, "changed": changed})
    else:
        say(f"largest difference {difference}/255" if difference else "bit-equal")
        for name, (before, after) in changed.items() if difference else ():
            complain(f"{name} was {before}, is {after}")
    raise typer.Exit(1 if difference else 0)


def _unlike(client: Client, recorded: Mapping[str, Any]) -> list[str]:
    """What the farm's model has not as it was recorded, as far as that is known before."""
    name = recorded["spec"].get("model")
    model = next((model for model in client.models() if model.id == name), None)
    if model is None:
        raise NotFound(f"the farm has no model {name!r}")
    found = []
    if "bucket" in recorded and recorded["bucket"] != str(model.bucket):
        found.append(f"bucket was {recorded['bucket']}, is {model.bucket}")
    found += [
        f"{note} was {recorded[note][:10]}, is {' and '.join(loaded[:10] for loaded in hashes)}"
        for note, stage in _HASHES.items()
        if (hashes := _loaded(model, stage)) and recorded.get(note) and hashes != [recorded[note]]
    ]
    return found


def _loaded(model: ModelView, stage: str) -> list[str]:
    return model.hashes.get(stage, [])


def _render(client: Client, recorded: Mapping[str, Any]) -> bytes:
    job = client.submit({**recorded["spec"], "seed": recorded["seed"], "num_images": 1})
    ended = follow(client, job)
    if ended.state != "succeeded":
        raise LatentfarmError(f"job {job.id} ended as {ended.state}: {ended.images[0].error}")
    return client.image(ended)


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Notes that differ, each as it was and as it is."""
    pairs = {name: (str(before.get(name, "")), str(after.get(name, ""))) for name in _NOTES}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
