"""What is pinned, by requirements.lock and torch.txt, and what is asked for, by pyproject.toml and all that follows."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
TORCH = ROOT / "torch.txt"
OURS = "latentfarm"
LINE = re.compile(
    r"(?P<name>[\w.-]+)(?:\[[\w,-]+\])?==(?P<version>\S+)(?P<hashes>(?:\s+--hash=sha256:[0-9a-f]{64})*)"
)


@dataclass(frozen=True)
class Pin:
    """One version of a package, and the SHA-256 of each file that may be installed for it."""

    version: str
    hashes: frozenset[str]


def pins(path: Path) -> dict[str, Pin]:
    """What a file of requirements pins, by normalised name; any other line in it is an error."""
    found: dict[str, Pin] = {}
    for line in path.read_text().replace("\\\n", " ").splitlines():
        said = line.split("#")[0].strip()
        if not said:
            continue
        match = LINE.fullmatch(said)
        if match is None:
            raise ValueError(f"{path.name} pins nothing by: {said}")
        hashes = re.findall(r"sha256:(\w+)", match["hashes"])
        found[canonicalize_name(match["name"])] = Pin(match["version"], frozenset(hashes))
    return found


def asked(*extras: str, without: str = "") -> dict[str, list[Requirement]]:
    """All that latentfarm with `extras` needs in this environment, by name, and the requirements that ask for it.

    What only the package `without` asks for is left out. A package that is needed and not installed raises
    `PackageNotFoundError`.
    """
    waiting = [(OURS, extra) for extra in ("", *extras)]
    seen: set[tuple[str, str]] = set()
    found: dict[str, list[Requirement]] = {}
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in seen or name == without:
            continue
        seen.add((name, extra))
        for requirement in _needs(name, extra):
            needed = canonicalize_name(requirement.name)
            found.setdefault(needed, []).append(requirement)
            waiting += [(needed, extra) for extra in ("", *requirement.extras)]
    return {name: requirements for name, requirements in found.items() if name != OURS}


def _needs(name: str, extra: str) -> list[Requirement]:
    """What a package asks for here; ours says so in pyproject.toml, since what is installed of it may be older."""
    if name == OURS:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        said = project["optional-dependencies"][extra] if extra else project["dependencies"]
    else:
        said = metadata.requires(name) or []
    requirements = [Requirement(one) for one in said]
    return [one for one in requirements if one.marker is None or one.marker.evaluate({"extra": extra})]
