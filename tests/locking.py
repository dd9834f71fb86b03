"""pip-compile, with the hashes that the index tells: `make lock` writes requirements.lock by it.

pip-compile alone asks for them at a place that indexes other than PyPI lack or fill otherwise, and then loads
every file of every package to count them itself, which is gigabytes.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from piptools.repositories import PyPIRepository
from piptools.scripts import compile as pip_compile

if TYPE_CHECKING:
    from pip._internal.req import InstallRequirement


class Index(PyPIRepository):
    """Whatever pip is configured to take packages from."""

    def _get_hashes_from_pypi(self, ireq: InstallRequirement) -> dict[str, str]:
        """SHA-256 of each file of a pinned package, by URL, as the index lists them; pip checks what it loads."""
        links = [candidate.link for candidate in self._get_matching_candidates(ireq)]
        return {link.url: f"sha256:{link.hash}" for link in links if link.hash_name == "sha256"}


if __name__ == "__main__":
    os.environ["CUSTOM_COMPILE_COMMAND"] = "make lock"
    setattr(pip_compile, "PyPIRepository", Index)  # noqa: B010 - it exports no such name, says mypy
    pip_compile.cli()
