"""``inferstack state`` with the real engine: a backup that is verified and restored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from inferstack.toolchain import binaries
from tests.rehearsal.command import InferstackCommand

pytestmark = pytest.mark.skipif(binaries.locate("pulumi") is None, reason="no engine yet: `inferstack tools ensure`")

ROOT = "urn:pulumi:local::inferstack::pulumi:pulumi:Stack::inferstack-local"


def _export(command: InferstackCommand) -> dict[str, Any]:
    output = command.run_checked("pulumi", "stack", "export")
    content: dict[str, Any] = json.loads(output[output.index("\n{") if not output.startswith("{") else 0 :])
    return content


def _load(command: InferstackCommand, content: dict[str, Any], folder: Path) -> None:
    (folder / "in.json").write_text(json.dumps(content))
    command.run_checked("pulumi", "stack", "import", "--file", str(folder / "in.json"))


def test_backup_is_verified_and_restored(tmp_path: Path) -> None:
    (tmp_path / "Pulumi.local.yaml").write_text("config:\n  inferstack:place: local\n")
    command = InferstackCommand(tmp_path / "state")
    command.environment |= {"INFERSTACK_STACKS": str(tmp_path)}
    empty = _export(command)
    full = json.loads(json.dumps(empty))
    full["deployment"]["resources"] = [
        {"urn": ROOT, "custom": False, "type": "pulumi:pulumi:Stack", "outputs": {"endpoint": "here"}}
    ]
    _load(command, full, tmp_path)

    [backup] = json.loads(command.run_checked("state", "backup", "-o", "json"))
    assert (backup["stack"], backup["resources"]) == ("local", 1)
    command.run_checked("state", "verify", "-s", "local", backup["file"])
    _load(command, empty, tmp_path)
    command.run_checked("pulumi", "stack", "import", "--file", backup["file"])

    [restored] = _export(command)["deployment"]["resources"]
    assert (restored["urn"], restored["outputs"]) == (ROOT, {"endpoint": "here"})

    Path(backup["file"]).write_text(Path(backup["file"]).read_text() + " ")
    code, output = command.run("state", "verify", backup["file"])
    assert code == 1
    assert "by its manifest" in output
    assert not (command.state / "kubeconfig").exists(), "a state is put back without a control plane"
