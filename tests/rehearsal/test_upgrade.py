"""A stack and a rehearsal of an earlier version, taken over by the version under test.

The test works as a user does: one checkout, ``make up`` with the earlier version, ``git checkout`` of the later one and
then ``make up`` or ``make down``.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from inferstack.project import project_root

EARLIER = "a1c699b65ef4c4237dcd2939207fc6150baff02a"
"""The version to upgrade from: the last commit before version 0.2.0."""

pytestmark = [pytest.mark.rehearsal, pytest.mark.long, pytest.mark.timeout(1200)]


class Checkout:
    """A clone of this repository with its own virtual environment and state folder.

    Args:
        folder: of the clone.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        outside = ("INFERSTACK_", "PYTHON", "PYTEST_", "VIRTUAL_ENV", "MAKE", "MFLAGS")
        environment = {key: value for key, value in os.environ.items() if not key.startswith(outside)}
        if cache := os.environ.get("INFERSTACK_CACHE"):
            environment["INFERSTACK_CACHE"] = cache
        self.environment = {**environment, "NO_COLOR": "1"}

    def run(self, *command: str) -> str:
        """Run a command in the clone and return its output; it must succeed."""
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False, timeout=600
        )
        assert done.returncode == 0, f"{' '.join(command)} exited with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def check_out(self, revision: str) -> None:
        """Put a version of the program into the clone; what git does not track stays."""
        self.run("git", "checkout", "--quiet", revision)

    def resources(self) -> dict[str, dict[str, Any]]:
        """Return the resources in the stack's state by URN."""
        exported = subprocess.run(
            [".venv/bin/inferstack", "pulumi", "stack", "export"],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return {resource["urn"]: resource for resource in json.loads(exported.stdout)["deployment"]["resources"]}

    def processes(self) -> list[str]:
        """Return the command lines of the processes that run from the clone."""
        commands = (" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"]))
        return [command for command in commands if str(self.folder) in command]


def uid_of(resource: dict[str, Any]) -> str | None:
    """Return the uid of a Kubernetes object in the state; None for other resources."""
    metadata = resource.get("outputs", {}).get("metadata")
    return metadata.get("uid") if isinstance(metadata, dict) else None


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Checkout]:
    """A clone with a rehearsal and a stack that the earlier version made."""
    if not (project_root() / ".git").exists():
        pytest.skip("an upgrade starts from an earlier commit, and this is no git checkout")
    folder = tmp_path / "inferstack"
    folder.mkdir()
    clone = Checkout(folder)
    clone.run("git", "clone", "--quiet", str(project_root()), ".")
    try:
        clone.check_out(EARLIER)
        assert "8/8" in clone.run("make", "up")
        yield clone
    finally:
        clone.run("make", "down")
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def revision() -> str:
    """The commit under test."""
    return Checkout(project_root()).run("git", "rev-parse", "HEAD").strip()


def test_up_replaces_and_deletes_nothing(checkout: Checkout, revision: str) -> None:
    before = checkout.resources()
    checkout.check_out(revision)

    assert "8/8" in checkout.run("make", "up")
    after = checkout.resources()
    assert set(before) <= set(after)
    assert {urn: (r.get("id"), uid_of(r)) for urn, r in before.items()} == {
        urn: (after[urn].get("id"), uid_of(after[urn])) for urn in before
    }
    assert "no changes" in checkout.run("make", "up")


def test_down_removes_what_the_earlier_version_made(checkout: Checkout, revision: str) -> None:
    checkout.check_out(revision)

    checkout.run("make", "down")
    assert checkout.processes() == []
    assert not (checkout.folder / ".inferstack" / "kubeconfig").exists()
