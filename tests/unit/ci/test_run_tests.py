"""``tools/run_tests.py``: several runs of pytest, one sum."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "tools" / "run_tests.py"

MIXED = """
import pytest

def test_passes(): pass

def test_fails(): assert False

@pytest.mark.skip(reason="a reason")
def test_skipped(): pass

@pytest.mark.xfail
def test_expected_to_fail(): assert False

@pytest.fixture
def broken(): raise RuntimeError

def test_error_in_setup(broken): pass

@pytest.fixture
def leaking():
    yield
    raise RuntimeError

def test_error_in_teardown(leaking): pass
"""


def run(folder: Path, *runs: str) -> tuple[int, list[str]]:
    """Run the script in ``folder`` and return its exit status and the lines of its output."""
    # Without plugins that take seconds to import, as in the project's own configuration.
    (folder / "pytest.ini").write_text("[pytest]\naddopts = -p no:fugue_test -p no:fugue_test_fixtures\n")
    (folder / "test_mixed.py").write_text(MIXED)
    (folder / "test_good.py").write_text("def test_a(): pass\ndef test_b(): pass\n")
    (folder / "test_broken.py").write_text("import no_such_module\n")
    (folder / "test_dies.py").write_text("import os\ndef test_dies(): os._exit(3)\n")
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *runs], cwd=folder, capture_output=True, text=True, check=False, timeout=120
    )
    return done.returncode, done.stdout.splitlines()


def test_totals_of_runs_that_pass(tmp_path: Path) -> None:
    status, lines = run(tmp_path, "-q test_good.py", "-q test_good.py -k test_a")
    assert status == 0
    assert lines[-1] == "3 passed, 0 failed, 0 skipped"
    assert any("slowest 25 durations" in line for line in lines)


def test_failed_run_does_not_hide_the_next(tmp_path: Path) -> None:
    status, lines = run(tmp_path, "-q test_mixed.py", "-q test_good.py")
    assert status == 1
    assert lines[-1] == "3 passed, 3 failed, 2 skipped"
    names = ("test_fails", "test_error_in_setup", "test_error_in_teardown")
    assert {f"FAILED test_mixed.{name}" for name in names} <= set(lines)


@pytest.mark.parametrize("arguments", ["--no-such-option", "test_broken.py", "test_dies.py", "test_good.py -k x"])
def test_run_without_report_counts_as_failed(tmp_path: Path, arguments: str) -> None:
    status, lines = run(tmp_path, arguments, "test_good.py")
    assert status == 1
    passed, failed, _ = lines[-1].split(", ")
    assert passed == "2 passed"
    assert int(failed.split()[0]) >= 1


def test_parallel_run(tmp_path: Path) -> None:
    status, lines = run(tmp_path, "--numprocesses 2 test_mixed.py test_good.py")
    assert status == 1
    assert lines[-1] == "3 passed, 3 failed, 2 skipped"
