"""The command `latentfarm`."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Annotated

import typer
from pydantic import ValidationError

from latentfarm import __version__
from latentfarm.cli import dataset, fleet, jobs, keys, models, tenants, webhooks
from latentfarm.cli.doctor import doctor
from latentfarm.cli.follow import INTERRUPTED, Interrupted
from latentfarm.cli.grid import grid
from latentfarm.cli.options import spec_options
from latentfarm.cli.output import complain
from latentfarm.cli.panels import PanelledCommand
from latentfarm.cli.render import render, with_options
from latentfarm.cli.replay import replay
from latentfarm.cli.verify import verify
from latentfarm.errors import InvalidInput, LatentfarmError

app = typer.Typer(
    name="latentfarm",
    help="A render farm for Stable Diffusion XL: every image, exactly once, reproducible.",
    epilog="Begin with `latentfarm up` in a checkout, then `latentfarm render 'a red circle' -o out/`.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    # The boxes of rich cut long option names off at 80 columns.
    rich_markup_mode=None,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"latentfarm {__version__}\n")
        raise typer.Exit


@app.callback()
def latentfarm(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """A render farm for Stable Diffusion XL: every image, exactly once, reproducible."""


@app.command(
    add_help_option=False,
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
)
def up(context: typer.Context) -> None:
    """Start a whole farm on this machine."""
    # Loaded here: it needs the embedded services, which a client does not have.
    import_module("latentfarm.cli.up").app(context.args, prog_name="latentfarm up")


@app.command(
    add_help_option=False,
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
)
def demo(context: typer.Context) -> None:
    """Start a farm, render four prompts, show where they are, and stop it."""
    import_module("latentfarm.cli.demo").app(context.args, prog_name="latentfarm demo")


app.command(cls=PanelledCommand)(with_options(render, spec_options()))
app.command()(replay)
app.command()(grid)
app.add_typer(dataset.app, name="dataset")
app.add_typer(jobs.app, name="jobs")
app.add_typer(models.app, name="models")
app.command()(fleet.status)
app.add_typer(fleet.drain, name="drain")
app.add_typer(fleet.resume, name="resume")
app.add_typer(tenants.app, name="tenants")
app.add_typer(keys.app, name="keys")
app.add_typer(webhooks.app, name="webhooks")
app.command()(doctor)
app.command()(verify)


def main() -> None:
    """Runs a command. Exits with 1 when it could not be done, with 2 when it was not asked rightly."""
    try:
        app()
    except Interrupted:
        sys.exit(INTERRUPTED)
    except ValidationError as error:
        first = error.errors()[0]
        complain(f"latentfarm: setting {'.'.join(map(str, first['loc']))}: {first['msg']}")
        sys.exit(2)
    except ModuleNotFoundError as error:
        complain(
            f"latentfarm: no {error.name}: this needs more than the client; pip install 'latentfarm[all]'"
        )
        sys.exit(1)
    except (LatentfarmError, TimeoutError) as error:
        complain(f"latentfarm: {error}")
        sys.exit(2 if isinstance(error, InvalidInput) else 1)


if __name__ == "__main__":
    main()
