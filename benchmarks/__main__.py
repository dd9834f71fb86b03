"""`python -m benchmarks NAME [--json] ...`: run one benchmark; its last line is one JSON object."""

import importlib
import sys
from pathlib import Path

LONG = ("parity",)
"""`all` leaves these out: each takes the better part of an hour."""


def main() -> int:
    """Run `benchmarks.NAME.main(rest of the arguments)`; 2 when there is no such benchmark."""
    names = sorted(file.stem for file in Path(__file__).parent.glob("*.py") if not file.stem.startswith("_"))
    if len(sys.argv) < 2 or sys.argv[1] not in [*names, "all"]:
        print(f"usage: python -m benchmarks {{all,{','.join(names)}}} ...", file=sys.stderr)
        return 2
    wanted = [name for name in names if name not in LONG] if sys.argv[1] == "all" else [sys.argv[1]]
    return max(int(importlib.import_module(f"benchmarks.{name}").main(sys.argv[2:])) for name in wanted)


if __name__ == "__main__":
    sys.exit(main())
