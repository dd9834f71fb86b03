"""`python -m training COMMAND`: make the tiny SDXL pair and everything beside it."""

import argparse
import json
from pathlib import Path


def _build(options: argparse.Namespace) -> None:
    from training.pipelines import build, save_pair

    save_pair(build(options.seed), options.output)
    size = sum(file.stat().st_size for file in options.output.rglob("*") if file.is_file())
    print(f"{options.output}: an untrained pair, {size / 1e6:.1f} MB")


def _train(options: argparse.Namespace) -> None:
    from training.train import train, use_threads

    use_threads(options.threads)
    report = train(options.seed, options.output, options.work, options.shorten)
    print(json.dumps(report))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    build = commands.add_parser("build", help="write an untrained pair from a seed")
    build.add_argument("--seed", type=int, default=0)
    build.add_argument("--output", type=Path, default=Path("models/tiny"))
    build.set_defaults(run=_build)
    train = commands.add_parser("train", help="train the pair from nothing, or go on where it stopped")
    train.add_argument("--seed", type=int, default=0)
    train.add_argument("--output", type=Path, default=Path("models/tiny"))
    train.add_argument("--work", type=Path, default=Path("build/training"), help="checkpoints and losses")
    train.add_argument("--threads", type=int, default=2)
    train.add_argument("--shorten", type=int, default=1, help="divide all courses, for a trial")
    train.set_defaults(run=_train)
    return parser


def main() -> None:
    """Run one command of the trainer."""
    options = _parser().parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
