"""The Python of a policy pack that is started before the engine asks for it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from inferstack.project import project_root
from standins.python_host.ahead import Ahead

PACK = """
import os, sys
print(os.environ["TOLD"], "PATH" in os.environ, os.getcwd(), sys.argv[1:])
sys.exit(3)
"""


HOST = """
import json, sys
from pathlib import Path
from standins.python_host.ahead import Ahead
ahead = Ahead()
ahead.begin(Path(sys.argv[1]))
folder = sys.argv[1]
process = ahead.take(["127.0.0.1:1", folder], {"TOLD": "yes"}, folder)
print(process.stdout.read().decode().strip(), process.stderr.read().decode(), process.wait(), ahead.take([], {}, ""))
"""
HOST_THAT_WAITS = """
import sys
from pathlib import Path
from standins.python_host.ahead import Ahead
ahead = Ahead()
ahead.begin(Path(sys.argv[1]))
process = ahead.take(["127.0.0.1:1", sys.argv[1]], {}, sys.argv[1])
print(process.stdout.readline().decode().strip(), flush=True)
process.wait()
"""
ENDLESS = "import os, sys, time; sys.stdout.buffer.write(b'%d\\n' % os.getpid()); time.sleep(600)"


def test_it_runs_the_pack_with_what_it_is_told_and_once(tmp_path: Path) -> None:
    (tmp_path / "__main__.py").write_text(PACK)
    done = subprocess.run(
        [sys.executable, "-c", HOST, tmp_path], cwd=project_root(), capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == f"yes False {tmp_path} ['127.0.0.1:1', '{tmp_path}']  3 None", done.stderr


def test_it_runs_what_the_pack_has_for_the_time_before(tmp_path: Path) -> None:
    (tmp_path / "ahead.py").write_text("import sys; sys.ran_ahead = True")
    (tmp_path / "__main__.py").write_text("import os, sys; os.environ['TOLD'] += str(sys.ran_ahead)\n" + PACK)
    done = subprocess.run(
        [sys.executable, "-c", HOST, tmp_path], cwd=project_root(), capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("yesTrue"), done.stderr


def test_it_ends_with_the_host(tmp_path: Path) -> None:
    (tmp_path / "__main__.py").write_text(ENDLESS)
    with subprocess.Popen(
        [sys.executable, "-c", HOST_THAT_WAITS, tmp_path],
        cwd=project_root(),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        pid = int(process.stdout.readline())
        assert psutil.pid_exists(pid)
        process.kill()
    deadline = time.monotonic() + 10
    # Where nobody reaps orphans it stays as a zombie.
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_there_is_none_where_none_was_begun() -> None:
    assert Ahead().take([], {}, "") is None


@pytest.mark.parametrize(("option", "wanted"), [("--policy-pack", True), ("--policy-pack=p", True), ("preview", False)])
def test_it_is_begun_where_the_engine_was_started_with_a_pack(option: str, *, wanted: bool) -> None:
    """The engine stands as the parent process, with its command line."""
    child = "from standins.python_host import ahead; ahead.AHEAD.begin = print; ahead.begin()"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}], check=True)"
    done = subprocess.run(
        [sys.executable, "-c", parent, option, "p"], cwd=project_root(), capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == (str(project_root() / "p") if wanted else "")
