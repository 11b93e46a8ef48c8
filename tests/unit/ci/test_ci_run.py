"""``.ci/run`` in a checkout whose Makefile and interpreter print what the real ones would."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from inferstack.project import project_root


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a checkout with ``.ci/run`` and an interpreter that prints the numbers of the comparisons."""
    folder = tmp_path / "inferstack"
    (folder / ".ci").mkdir(parents=True)
    shutil.copy(project_root() / ".ci" / "run", folder / ".ci" / "run")
    (folder / ".venv").mkdir()  # not copied: its scripts name their folder
    return folder


def run(checkout: Path, recipe: str) -> tuple[int, list[str]]:
    """Run ``.ci/run`` and return its exit status and its lines."""
    (checkout / "Makefile").write_text(f"test:\n\t@mkdir .venv .venv/bin; cp python .venv/bin; {recipe}\n")
    (checkout / "python").write_text(
        '#!/bin/sh\necho "reference $INFERSTACK_REFERENCE"; echo "7 passed, 0 failed, 1 skipped"\n'
    )
    (checkout / "python").chmod(0o755)
    done = subprocess.run([checkout / ".ci" / "run"], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.splitlines()


@pytest.mark.parametrize(
    ("recipe", "status", "line"),
    [
        ('echo "5 passed, 0 failed, 2 skipped"', 0, "5 passed, 0 failed, 2 skipped"),
        ('echo "5 passed, 3 failed, 2 skipped"; exit 1', 1, "5 passed, 3 failed, 2 skipped"),
        ('echo "5 passed, 0 failed, 2 skipped"; exit 1', 1, "5 passed, 1 failed, 2 skipped"),
        ("echo lint fails; exit 1", 1, "0 passed, 1 failed, 0 skipped"),
        ("echo no summary", 1, "0 passed, 1 failed, 0 skipped"),
    ],
)
def test_last_line_is_summary_of_make_test(checkout: Path, recipe: str, status: int, line: str) -> None:
    code, lines = run(checkout, recipe)
    assert (code, lines[-1]) == (status, line)
    assert not any(line.startswith("reference") for line in lines)


def test_ci_run_makes_test_without_reference_and_comparisons_with_it(checkout: Path) -> None:
    folder = checkout.parent / "shared" / "reference"
    folder.mkdir(parents=True)
    code, lines = run(checkout, 'ls ..; echo "variable $$INFERSTACK_REFERENCE."; echo "5 passed, 2 failed, 2 skipped"')
    assert (code, lines[-1]) == (1, "12 passed, 2 failed, 3 skipped")
    assert "shared" not in lines
    assert "variable ." in lines
    assert f"reference {folder}" in lines
