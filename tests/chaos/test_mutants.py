"""The mutants are run by `make chaos-mutants`; here only that each of them still changes this tree."""

from __future__ import annotations

import subprocess

import pytest

from tests.chaos.invariants import INVARIANTS
from tests.chaos.mutation import MUTANTS, PATCHES, Mutant
from tests.chaos.place import ROOT


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_patch_applies(mutant: Mutant) -> None:
    done = subprocess.run(
        ["git", "apply", "--check", str(mutant.patch)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_every_patch_belongs_to_a_mutant() -> None:
    assert sorted(path.stem for path in PATCHES.glob("*.patch")) == sorted(mutant.name for mutant in MUTANTS)


def test_what_should_kill_a_mutant_is_an_invariant() -> None:
    assert {name for mutant in MUTANTS for name in mutant.expected} <= INVARIANTS.keys()
