"""`python -m latentfarm.embedded --folder F`: the stack alone, until Ctrl-C or SIGTERM.

Prints one JSON object with the environment when it is ready.
"""

import argparse
import json
import signal
import sys
from pathlib import Path
from types import FrameType

from latentfarm.embedded.errors import StackError
from latentfarm.embedded.stack import Stack


def main() -> int:
    """Run the stack; 0 after an orderly stop, 1 when it cannot start."""
    parser = argparse.ArgumentParser(prog="python -m latentfarm.embedded")
    parser.add_argument("--folder", type=Path, default=Path(".latentfarm"))
    folder = parser.parse_args().folder
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        with Stack(folder) as stack:
            sys.stdout.write(json.dumps(stack.environment()) + "\n")
            sys.stdout.flush()
            signal.pause()
    except KeyboardInterrupt:
        return 0
    except StackError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    # One way out for both signals. During the stop a second one is ignored.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
