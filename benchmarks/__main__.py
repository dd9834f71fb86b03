"""`python -m benchmarks NAME [--json] ...`: run one benchmark; its last line is one JSON object."""

import importlib
import sys
from pathlib import Path

LONG = ("parity",)
"""`all` leaves these out: each takes the better part of an hour."""
SPEED = ("throughput", "submit", "control", "backlog", "overlap", "latency", "rtt", "start", "fairness")
"""`speed` runs these: all that needs no GPU."""


def main() -> int:
    """Run `benchmarks.NAME.main(rest of the arguments)`; 2 when there is no such benchmark."""
    names = sorted(file.stem for file in Path(__file__).parent.glob("*.py") if not file.stem.startswith("_"))
    groups = {
        "all": [name for name in names if name not in LONG],
        "speed": [name for name in SPEED if name in names],
    }
    if len(sys.argv) < 2 or sys.argv[1] not in [*names, *groups]:
        print(f"usage: python -m benchmarks {{{','.join([*groups, *names])}}} ...", file=sys.stderr)
        return 2
    wanted = groups.get(sys.argv[1], [sys.argv[1]])
    return max(int(importlib.import_module(f"benchmarks.{name}").main(sys.argv[2:])) for name in wanted)


if __name__ == "__main__":
    sys.exit(main())
