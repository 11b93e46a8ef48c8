"""The Python of a policy pack that is started before the engine asks for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from inferstack.project import project_root
from inferstack.rehearsal.providers.ahead import Ahead

PACK = """
import os, sys
print(os.environ["TOLD"], "PATH" in os.environ, os.getcwd(), sys.argv[1:])
sys.exit(3)
"""


def test_it_runs_the_pack_with_what_it_is_told_and_once(tmp_path: Path) -> None:
    (tmp_path / "__main__.py").write_text(PACK)
    ahead = Ahead()
    ahead.begin()

    arguments = ["127.0.0.1:1", str(tmp_path)]
    process = ahead.take(arguments, {"TOLD": "yes"}, str(tmp_path))

    assert process is not None
    assert process.stdout
    assert process.stderr
    said, complaints = process.stdout.read().decode(), process.stderr.read().decode()
    assert said.strip() == f"yes False {tmp_path} {arguments}", complaints
    assert process.wait() == 3
    process.stdout.close()
    process.stderr.close()
    assert ahead.take(arguments, dict(os.environ), "") is None


def test_there_is_none_where_none_was_begun() -> None:
    assert Ahead().take([], {}, "") is None


@pytest.mark.parametrize(("option", "wanted"), [("--policy-pack", True), ("--policy-pack=p", True), ("preview", False)])
def test_it_is_begun_where_the_engine_was_started_with_a_pack(option: str, *, wanted: bool) -> None:
    """The engine stands as the parent process, with its command line."""
    child = (
        "from inferstack.rehearsal.providers import ahead; ahead.AHEAD.begin = lambda: print('begun'); ahead.begin()"
    )
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}], check=True)"
    done = subprocess.run(
        [sys.executable, "-c", parent, option, "p"], cwd=project_root(), capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ("begun" if wanted else "")
