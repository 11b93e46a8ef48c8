"""The installer for real: its own process and code, on files in place of a node's containerd."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest

from components.settings import load_role
from components.wasm.builders import make_config
from components.wasm.settings import WasmSettings
from inferstack.project import project_root

V3 = """version = 3
root = '/var/lib/containerd'

# a comment of the distribution's
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
runtime_type = 'io.containerd.runc.v2'
"""
V2 = """version = 2

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.nvidia]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.nvidia.options]
BinaryName = "/usr/bin/nvidia-container-runtime\""""
SHIM = b"\x7fELF not really"
PLUGIN = {V2: "io.containerd.grpc.v1.cri", V3: "io.containerd.cri.v1.runtime"}


class Node:
    """Files that stand for a node, and the installer on it."""

    def __init__(self, folder: Path) -> None:
        """Write the files below ``folder``."""
        self.folder = folder
        self.toml, self.shim, self.config = folder / "config.toml", folder / "pod" / "shim", folder / "agent.json"
        self.installed, self.log = folder / "host" / "bin" / "containerd-shim-wasmedge-v1", folder / "restarts"
        self.shim.parent.mkdir()
        self.shim.write_bytes(SHIM)
        self.tell()

    def tell(self, **over: Any) -> None:
        """Write the configuration as the role makes it, with this node's paths in it."""
        shim = {"image": "localhost/shim:1", "sha256": hashlib.sha256(SHIM).hexdigest()}
        config = make_config(load_role("wasm", WasmSettings, {"enabled": True, "shim": shim}))
        paths = {
            "shim": str(self.shim),
            "installed": str(self.installed),
            "containerd": str(self.toml),
            "restart": ["sh", "-c", f"echo restart >> {self.log}"],
        }
        assert paths.keys() <= config.keys()
        self.config.write_text(json.dumps({**config, **paths, **over}))

    def restarts(self) -> int:
        """Return how often containerd was started anew."""
        return len(self.log.read_text().splitlines()) if self.log.exists() else 0

    def command(self, *arguments: str) -> list[str]:
        """Return the installer's command, in an interpreter that finds it as its pod does."""
        folder = project_root() / "components" / "wasm"
        code = f"import runpy, sys; sys.path.insert(0, {str(folder)!r}); runpy.run_module('agent', run_name='__main__')"
        return [sys.executable, "-I", "-B", "-c", code, "--config", str(self.config), *arguments]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the installer to its end."""
        return subprocess.run(self.command(*arguments), capture_output=True, text=True, timeout=30, check=False)


@pytest.fixture
def node(tmp_path: Path) -> Node:
    """A node without the shim."""
    simulated = Node(tmp_path)
    simulated.toml.write_text(V3)
    return simulated


@pytest.mark.parametrize("text", [V2, V3], ids=["version 2", "version 3"])
def test_the_runtime_is_added_and_taken_out_without_a_trace(node: Node, text: str) -> None:
    node.toml.write_text(text)
    node.toml.chmod(0o640)
    done = node.run("--once")
    assert done.returncode == 0, done.stderr
    parsed = tomllib.loads(node.toml.read_text())
    runtimes = parsed["plugins"][PLUGIN[text]]["containerd"]["runtimes"]
    assert runtimes.pop("wasmedge") == {"runtime_type": str(node.installed)}
    assert runtimes == tomllib.loads(text)["plugins"][PLUGIN[text]]["containerd"]["runtimes"]
    assert node.toml.read_text().startswith(text)
    assert (node.installed.read_bytes(), node.installed.stat().st_mode & 0o777) == (SHIM, 0o755)
    assert node.restarts() == 1

    assert node.run("--remove").returncode == 0
    assert (node.toml.read_text(), node.toml.stat().st_mode & 0o777) == (text, 0o640)
    assert not node.installed.exists()
    assert node.restarts() == 2


def test_a_second_time_nothing_is_done(node: Node) -> None:
    node.run("--once")
    text = node.toml.read_text()
    done = node.run("--once")
    assert (done.returncode, done.stdout, node.restarts()) == (0, "", 1)
    assert node.toml.read_text() == text
    node.run("--remove")
    done = node.run("--remove")
    assert (done.returncode, done.stdout, node.restarts()) == (0, "", 2)


def test_another_binary_than_the_one_that_was_named_is_not_installed(node: Node) -> None:
    node.shim.write_bytes(b"something else")
    done = node.run("--once")
    assert done.returncode == 1
    assert "wanted is" in done.stderr
    assert not node.installed.exists()
    assert (node.toml.read_text(), node.restarts()) == (V3, 0)


def test_a_binary_that_somebody_has_changed_on_the_node_is_put_right(node: Node) -> None:
    node.run("--once")
    node.installed.write_bytes(b"changed")
    assert node.run("--once").returncode == 0
    assert node.installed.read_bytes() == SHIM


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[plugins]\n", "it is of version 1; known are 2, 3"),
        ("version = 4\n", "it is of version 4"),
        ("version = [", "it is no TOML"),
        (f"{V3}[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.wasmedge]\nx = 1\n", "of somebody else's"),
        ("version = 3\nplugins = {}\n", "it is no TOML"),
    ],
)
def test_a_configuration_that_is_not_understood_is_left_alone(node: Node, text: str, message: str) -> None:
    node.toml.write_text(text)
    done = node.run("--once")
    assert done.returncode == 1
    assert message in done.stderr
    assert (node.toml.read_text(), node.restarts()) == (text, 0)
    assert not node.installed.exists()


def test_without_a_configuration_nothing_is_made(node: Node) -> None:
    node.toml.unlink()
    done = node.run("--once")
    assert done.returncode == 1
    assert "No such file" in done.stderr
    assert not node.toml.exists()
    assert not node.installed.exists()


def test_where_containerd_does_not_start_the_old_configuration_comes_back(node: Node) -> None:
    # It starts with any configuration but the one with the runtime.
    node.tell(restart=["sh", "-c", f"echo restart >> {node.log}; ! grep -q wasmedge {node.toml}"])
    done = node.run("--once")
    assert done.returncode == 1
    assert "containerd does not start with the runtime" in done.stderr
    assert "its old configuration is back" in done.stderr
    assert (node.toml.read_text(), node.restarts()) == (V3, 2)


def test_what_others_write_into_the_configuration_meanwhile_stays(node: Node) -> None:
    node.run("--once")
    more = "\n[metrics]\naddress = '127.0.0.1:1338'\n"
    node.toml.write_text(node.toml.read_text() + more)
    assert node.run("--once").returncode == 0
    node.run("--remove")
    assert node.toml.read_text() == V3 + more


def test_a_configuration_that_was_written_anew_gets_the_runtime_again(node: Node) -> None:
    node.run("--once")
    node.toml.write_text(V3)
    assert "added" in node.run("--once").stdout
    assert node.restarts() == 2


def test_at_its_end_the_installer_takes_everything_out(node: Node, tmp_path: Path) -> None:
    node.tell(period=3600)
    ready = tmp_path / "ready"
    with subprocess.Popen(node.command("--ready", str(ready)), stdout=subprocess.PIPE, text=True) as installer:
        try:
            end = time.monotonic() + 20
            while not ready.exists():
                assert time.monotonic() < end
                time.sleep(0.02)
            assert "wasmedge" in node.toml.read_text()
            installer.send_signal(signal.SIGTERM)
            installer.communicate(timeout=20)
        finally:
            installer.kill()
    assert installer.returncode == 0
    assert node.toml.read_text() == V3
    assert not node.installed.exists()


def test_while_it_fails_the_installer_is_not_ready(node: Node, tmp_path: Path) -> None:
    node.toml.write_text("version = 4\n")
    ready = tmp_path / "ready"
    ready.touch()
    assert node.run("--once", "--ready", str(ready)).returncode == 1
    assert not ready.exists()
