"""`latentfarm demo`: a farm comes up, renders four prompts through base and refiner, and goes away."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from latentfarm.cli.output import complain, say
from latentfarm.cli.sheet import contact_sheet
from latentfarm.cli.up import ROOT, _interrupt
from latentfarm.client import Client
from latentfarm.embedded.errors import StackError
from latentfarm.embedded.farm import Farm
from latentfarm.embedded.stack import Stack
from latentfarm.errors import LatentfarmError
from latentfarm.pixels import open_picture
from latentfarm.spec import RefinerSpec, RenderSpec

if TYPE_CHECKING:
    from uuid import UUID

PROMPTS = (
    ("a large red circle on the left, white background", "filled style"),
    ("a large blue square on the right, grey background", "striped style"),
    ("a large green triangle in the middle, black background", "outline style"),
    (
        "a large yellow cross at the top and a small purple circle at the bottom, black background",
        "dotted style",
    ),
)
"""(prompt, prompt_2): what to draw, and in which style."""

app = typer.Typer(rich_markup_mode=None, add_completion=False, pretty_exceptions_enable=False)


@app.command()
def demo(
    *,
    folder: Annotated[Path, typer.Option(help="Data and logs of the farm.")] = Path(".latentfarm"),
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the pictures.")] = Path("demo"),
) -> None:
    """Start a farm, render four prompts with separate base and refine workers, and stop it."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        complain("starting PostgreSQL, Redis, S3, the API, the scheduler, a base and a refine worker")
        with Stack(folder) as stack:
            farm = Farm(stack, ROOT, port=8400, workers=["base", "refine"], devices="cpu")
            farm.start()
            paths = render_all(farm.url, out)
    except (StackError, LatentfarmError) as error:
        complain(str(error))
        raise typer.Exit(1) from error
    except KeyboardInterrupt:
        complain("stopped")
        raise typer.Exit(130) from None
    sheet = _sheet(paths, out / "contact-sheet.png")
    say("the pictures:")
    for path in [*paths, sheet]:
        say(f"  {path}")


def render_all(url: str, out: Path) -> list[Path]:
    """Submits every prompt at once and saves the pictures as they come."""
    with Client(url) as client:
        jobs: list[UUID] = []
        for seed, (prompt, style) in enumerate(PROMPTS, start=1):
            spec = RenderSpec(
                prompt=prompt,
                prompt_2=style,
                seed=seed,
                num_inference_steps=20,
                refiner=RefinerSpec(high_noise_frac=0.8),
            )
            jobs.append(client.submit(spec).id)
            complain(f"job {jobs[-1]}: {prompt}, {style}")
        ended = [client.wait(job) for job in jobs]
        failed = [job for job in ended if job.state != "succeeded"]
        if failed:
            raise LatentfarmError(f"job {failed[0].id} ended as {failed[0].state}")
        return [path for job in ended for path in client.download(job, out).values()]


def _sheet(paths: list[Path], target: Path) -> Path:
    """All pictures side by side, each over what was asked for."""
    labels = [f"{prompt}, {style}" for prompt, style in PROMPTS]
    pictures = [open_picture(path.read_bytes()) for path in paths]
    contact_sheet(list(zip(pictures, labels, strict=True)), columns=len(PROMPTS)).save(target)
    return target
