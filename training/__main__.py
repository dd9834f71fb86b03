"""`python -m training COMMAND`: make the tiny SDXL pair and everything beside it."""

import argparse
import json
import sys
from pathlib import Path


def _build(options: argparse.Namespace) -> None:
    from training.pipelines import build, save_pair

    save_pair(build(options.seed), options.output)
    size = sum(file.stat().st_size for file in options.output.rglob("*") if file.is_file())
    print(f"{options.output}: an untrained pair, {size / 1e6:.1f} MB")


def _train(options: argparse.Namespace) -> None:
    from training.share import run_in_processes
    from training.train import train, use_threads

    if options.processes > 1:
        again = [*sys.argv[1:], "--processes", "1"]
        sys.exit(run_in_processes(again, options.processes, options.work / "meeting"))
    use_threads(options.threads)
    report = train(options.seed, options.output, options.work, options.shorten, options.device)
    print(json.dumps(report))


def _export(options: argparse.Namespace) -> None:
    from training.export import export

    for path in export(options.model, options.output):
        print(path)


def _card(options: argparse.Namespace) -> None:
    from training.card import read_json, write_card
    from training.pipelines import load_pair

    report = read_json(options.work / "report.json") | {"time": options.time}
    write_card(load_pair(options.model), report, read_json(options.figures), options.model / "README.md")


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
    train.add_argument("--threads", type=int, default=1, help="of each process")
    train.add_argument("--processes", type=int, default=2)
    train.add_argument("--device", default="cpu", help="where torch trains; with cuda, one process is enough")
    train.add_argument("--shorten", type=int, default=1, help="divide all courses, for a trial")
    train.set_defaults(run=_train)
    card = commands.add_parser(
        "card", help="write the model card from a training report and benchmark figures"
    )
    card.add_argument("--model", type=Path, default=Path("models/tiny"))
    card.add_argument("--work", type=Path, default=Path("build/training"))
    card.add_argument("--figures", type=Path, required=True, help="output of `python -m benchmarks tiny`")
    card.add_argument("--time", default="", help="a sentence that says how long training took, and on what")
    card.set_defaults(run=_card)
    export = commands.add_parser("export", help='write a variant="fp16" folder and single-file checkpoints')
    export.add_argument("--model", type=Path, default=Path("models/tiny"))
    export.add_argument("--output", type=Path, required=True)
    export.set_defaults(run=_export)
    return parser


def main() -> None:
    """Run one command of the trainer."""
    options = _parser().parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
