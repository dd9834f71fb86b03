"""`python -m training COMMAND`: make the tiny SDXL pair and everything beside it."""

import argparse
from pathlib import Path


def _build(options: argparse.Namespace) -> None:
    from training.pipelines import build, save_pair

    save_pair(build(options.seed), options.output)
    size = sum(file.stat().st_size for file in options.output.rglob("*") if file.is_file())
    print(f"{options.output}: an untrained pair, {size / 1e6:.1f} MB")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    build = commands.add_parser("build", help="write an untrained pair from a seed")
    build.add_argument("--seed", type=int, default=0)
    build.add_argument("--output", type=Path, default=Path("models/tiny"))
    build.set_defaults(run=_build)
    return parser


def main() -> None:
    """Run one command of the trainer."""
    options = _parser().parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
