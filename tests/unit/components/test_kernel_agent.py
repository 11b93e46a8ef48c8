"""The node agent for real: its own process and its own code, on a tree of files in place of the kernel's."""

from __future__ import annotations

import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from components.kernel.builders import make_config
from components.kernel.settings import KernelSettings
from components.settings import load_role
from inferstack.project import project_root

BOOT = "1b2c3d4e-0000-4000-8000-000000000001"
BUSY = "proc/sys/net/core/busy_poll"
NUMA = "proc/sys/kernel/numa_balancing"
PAGES = "sys/kernel/mm/transparent_hugepage/enabled"
GOVERNOR = "sys/devices/system/cpu/cpu{}/cpufreq/scaling_governor"
LATENCY = "dev/cpu_dma_latency"
FILES = {
    BUSY: "0\n",
    "proc/sys/net/core/busy_read": "0\n",
    NUMA: "1\n",
    "proc/sys/net/ipv4/tcp_fastopen": "3\n",
    PAGES: "always [madvise] never\n",
    GOVERNOR.format(0): "powersave\n",
    GOVERNOR.format(1): "powersave\n",
    "proc/cmdline": "BOOT_IMAGE=/vmlinuz ro skew_tick=1\n",
    "proc/sys/kernel/random/boot_id": f"{BOOT}\n",
    LATENCY: "",
}


class Node:
    """A tree of files that stands for a node, and the agent on it."""

    def __init__(self, folder: Path) -> None:
        """Write the files below ``folder``."""
        self.root, self.state, self.config = folder / "root", folder / "state", folder / "config.json"
        for path, text in FILES.items():
            self.put(path, text)

    def put(self, path: str, text: str) -> None:
        """Write a file of the node."""
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def get(self, path: str) -> str:
        """Return what a file of the node holds."""
        return (self.root / path).read_text().strip()

    def all(self) -> dict[str, bytes]:
        """Return every file of the node with its content."""
        return {str(path.relative_to(self.root)): path.read_bytes() for path in self.root.rglob("*") if path.is_file()}

    def saved(self) -> dict[str, Any]:
        """Return what is saved of this boot."""
        content: dict[str, Any] = json.loads((self.state / f"{BOOT}.json").read_text())
        return content

    def tell(self, mode: str, given: Mapping[str, Any] | None = None, **more: Any) -> None:
        """Write the configuration as the role makes it of a stack's settings."""
        settings = load_role("kernel", KernelSettings, {"enabled": True, "mode": mode, **(given or {})})
        self.config.write_text(json.dumps({**make_config(settings), **more}))

    def command(self, *arguments: str, code: str | None = None) -> list[str]:
        """Return the command of the agent, or of ``code`` run in its place."""
        start = ["-c", code] if code else ["-m", "agent"]
        given = ["--config", str(self.config), "--state", str(self.state), "--root", str(self.root)]
        return [sys.executable, "-I", "-B", *_path(start), *given, *arguments]

    def run(self, *arguments: str, code: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run the agent once."""
        return subprocess.run(
            self.command("--once", *arguments, code=code), capture_output=True, text=True, timeout=30, check=False
        )


def _path(start: list[str]) -> list[str]:
    """Return a start that finds the agent as its pod does, by PYTHONPATH, in an interpreter that knows nothing else."""
    folder = project_root() / "components" / "kernel"
    if start[0] == "-c":
        return ["-c", f"import sys; sys.path.insert(0, {str(folder)!r})\n{start[1]}"]
    code = f"import runpy, sys; sys.path.insert(0, {str(folder)!r}); runpy.run_module('agent', run_name='__main__')"
    return ["-c", code]


@pytest.fixture
def node(tmp_path: Path) -> Node:
    """A node that nobody has tuned."""
    return Node(tmp_path)


def test_a_dry_run_says_what_differs_and_changes_nothing(node: Node) -> None:
    node.tell("dryRun")
    before = node.all()
    done = node.run()
    assert done.returncode == 0, done.stderr
    assert node.all() == before
    assert not node.state.exists()
    assert "differs   net.core.busy_poll: 0, would be 50 µs" in done.stdout
    assert "differs   cpu-governor: powersave, would be performance (2 files)" in done.stdout
    assert "ok        net.ipv4.tcp_fastopen: 3" in done.stdout
    assert "ok        transparent-hugepages: madvise" in done.stdout
    assert "absent    kernel.nmi_watchdog: this kernel or machine has no such file" in done.stdout
    assert "advice    skewed-ticks: here skew_tick=1." in done.stdout
    assert "advice    isolated-cpus: here without isolcpus=." in done.stdout
    assert done.stdout.startswith("dryRun: ")


def test_apply_saves_what_was_there_and_sets_what_is_wanted(node: Node) -> None:
    node.tell("apply")
    done = node.run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert (node.get(BUSY), node.get(NUMA), node.get(GOVERNOR.format(1))) == ("50", "0", "performance")
    assert node.saved() == {
        BUSY: {"key": "net.core.busy_poll", "before": "0", "set": "50"},
        "proc/sys/net/core/busy_read": {"key": "net.core.busy_read", "before": "0", "set": "50"},
        NUMA: {"key": "kernel.numa_balancing", "before": "1", "set": "0"},
        GOVERNOR.format(0): {"key": "cpu-governor", "before": "powersave", "set": "performance"},
        GOVERNOR.format(1): {"key": "cpu-governor", "before": "powersave", "set": "performance"},
    }
    assert "set       net.core.busy_poll: 0 -> 50 µs" in done.stdout
    assert struct.unpack("=i", (node.root / LATENCY).read_bytes()) == (3,)


def test_a_second_apply_changes_nothing_and_keeps_what_was_saved_first(node: Node) -> None:
    node.tell("apply")
    node.run()
    files, saved = node.all(), node.saved()
    times = {path: (node.root / path).stat().st_mtime_ns for path in FILES if path != LATENCY}
    done = node.run()
    assert (node.all(), node.saved()) == (files, saved)
    assert {path: (node.root / path).stat().st_mtime_ns for path in times} == times
    assert "\nset " not in done.stdout
    assert "ok        net.core.busy_poll: 50" in done.stdout


def test_a_rollback_puts_back_exactly_what_was_there_and_leaves_no_file(node: Node) -> None:
    before = {path: node.get(path) for path in (BUSY, NUMA, GOVERNOR.format(0), GOVERNOR.format(1))}
    node.tell("apply")
    node.run()
    node.tell("rollback")
    done = node.run()
    assert done.returncode == 0, done.stdout
    assert {path: node.get(path) for path in before} == before
    assert list(node.state.iterdir()) == []
    assert "restored  net.core.busy_poll: 0" in done.stdout
    assert node.run().stdout == "rollback: nothing to do\n"


@pytest.mark.parametrize("point", ["before the first value", "after the first value"])
def test_killed_between_saving_and_setting_there_is_a_way_back(node: Node, point: str) -> None:
    before = {path: node.get(path) for path in (BUSY, NUMA, GOVERNOR.format(0))}
    node.tell("apply")
    # The agent's own code, but the kernel kills it at this point.
    first = "0" if point.startswith("before") else "1"
    code = f"""
import os, signal
from agent import keeper
from agent.__main__ import main
write, done = keeper.write, []
def killed(*arguments):
    if len(done) == {first}:
        os.kill(os.getpid(), signal.SIGKILL)
    done.append(write(*arguments))
keeper.write = killed
sys.exit(main(sys.argv[1:]))
"""
    assert node.run(code=code).returncode == -signal.SIGKILL
    assert len(node.saved()) == 5
    node.tell("rollback")
    assert node.run().returncode == 0
    assert {path: node.get(path) for path in before} == before
    assert list(node.state.iterdir()) == []


def test_a_file_half_written_when_the_agent_died_is_cleared_away(node: Node) -> None:
    node.state.mkdir()
    (node.state / f"{BOOT}.new").write_text('{"proc/sys')
    node.tell("apply")
    assert node.run().returncode == 0
    assert [file.name for file in node.state.iterdir()] == [f"{BOOT}.json"]


@pytest.mark.skipif(os.getuid() != 0, reason="only root may open files of the kernel that are read-only")
def test_a_value_that_the_kernel_refuses_is_told_and_the_rest_goes_on(node: Node) -> None:
    # The real kernel's: it opens /proc/version for root, and takes no value.
    (node.root / BUSY).unlink()
    (node.root / BUSY).symlink_to("/proc/version")
    node.tell("apply")
    done = node.run()
    assert done.returncode == 3
    assert "refused   net.core.busy_poll: 50: " in done.stdout
    assert node.get(NUMA) == "0"
    node.tell("rollback")
    assert node.run().returncode == 0
    assert node.get(NUMA) == "1"
    assert list(node.state.iterdir()) == []


def test_a_value_that_is_taken_and_not_kept_is_told(node: Node) -> None:
    (node.root / BUSY).unlink()
    (node.root / BUSY).symlink_to("/dev/null")
    node.tell("apply")
    done = node.run()
    assert done.returncode == 3
    assert "refused   net.core.busy_poll: 50: it still reads " in done.stdout
    assert node.get(NUMA) == "0"


def test_what_somebody_else_has_set_meanwhile_is_set_again_and_told_on_the_way_back(node: Node) -> None:
    node.tell("apply")
    node.run()
    node.put(BUSY, "70\n")
    assert "set       net.core.busy_poll: 70 -> 50 µs" in node.run().stdout
    assert node.saved()[BUSY]["before"] == "0"
    node.put(BUSY, "90\n")
    node.tell("rollback")
    assert "restored  net.core.busy_poll: 0, which somebody else had set to 90" in node.run().stdout
    assert node.get(BUSY) == "0"


def test_what_is_no_longer_asked_for_is_put_back_by_the_next_apply(node: Node) -> None:
    node.tell("apply")
    node.run()
    node.tell("apply", {"settings": {"net.core.busy_poll": None, "kernel.numa_balancing": 2}})
    done = node.run()
    assert (node.get(BUSY), node.get(NUMA)) == ("0", "2")
    assert "restored  net.core.busy_poll: 0" in done.stdout
    assert BUSY not in node.saved()
    assert node.saved()[NUMA] == {"key": "kernel.numa_balancing", "before": "1", "set": "2"}


def test_values_of_an_earlier_boot_are_not_written_into_this_one(node: Node) -> None:
    node.tell("apply")
    node.run()
    (node.state / f"{BOOT}.json").rename(node.state / "earlier.json")
    node.put(BUSY, "20\n")
    node.tell("rollback")
    done = node.run()
    assert node.get(BUSY) == "20"
    assert "gone      saved: earlier.json: the node has booted since" in done.stdout
    assert list(node.state.iterdir()) == []


def test_a_cpu_that_was_taken_out_does_not_keep_the_rest_from_going_back(node: Node) -> None:
    node.tell("apply")
    node.run()
    shutil.rmtree(node.root / "sys/devices/system/cpu/cpu1")
    node.tell("rollback")
    done = node.run()
    assert "gone      cpu-governor: is no longer there" in done.stdout
    assert node.get(GOVERNOR.format(0)) == "powersave"
    assert list(node.state.iterdir()) == []


def test_interrupts_of_a_card_go_to_its_own_cpus_and_back(node: Node) -> None:
    device = "sys/class/net/eth0/device"
    node.put(f"{device}/local_cpulist", "0-3,8\n")
    for number in (31, 32):
        node.put(f"{device}/msi_irqs/{number}", "msix\n")
    node.put("proc/irq/31/smp_affinity_list", "0-15\n")
    node.put("proc/irq/32/smp_affinity_list", "0,1,2,3,8\n")
    node.tell("apply", {"interruptsOf": ["eth0", "eth9"]})
    done = node.run()
    assert node.get("proc/irq/31/smp_affinity_list") == "0-3,8"
    assert node.get("proc/irq/32/smp_affinity_list") == "0,1,2,3,8"
    assert "absent    nic-interrupts: eth9: No such file or directory" in done.stdout
    node.tell("rollback")
    node.run()
    assert node.get("proc/irq/31/smp_affinity_list") == "0-15"


def test_a_dry_run_after_an_apply_that_was_killed_says_that_something_is_left(node: Node) -> None:
    node.tell("apply")
    node.run()
    node.tell("dryRun")
    assert f"{BOOT}.json: mode rollback puts them back" in node.run().stdout
    assert node.get(BUSY) == "50"


def test_a_look_changes_nothing_whatever_the_mode(node: Node) -> None:
    node.tell("apply")
    before = node.all()
    assert "differs   net.core.busy_poll" in node.run("--look").stdout
    assert node.all() == before


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"kind": "sysctl", "path": "etc/passwd"}, "etc/passwd is no file of kind sysctl"),
        ({"kind": "sysctl", "path": "proc/sys/../../etc/passwd"}, "is no file of kind sysctl"),
        ({"kind": "sysfs", "path": "proc/sys/kernel/panic"}, "is no file of kind sysfs"),
        ({"kind": "hold", "path": "dev/sda"}, "dev/sda is no file of kind hold"),
        ({"kind": "shell", "path": "bin/sh"}, "unknown kind 'shell'"),
    ],
)
def test_a_configuration_that_leads_elsewhere_is_refused_whole(
    node: Node, setting: dict[str, str], message: str
) -> None:
    bad = {"key": "odd", "value": "1", "unit": "x", **setting}
    node.tell("apply")
    config = json.loads(node.config.read_text())
    node.config.write_text(json.dumps({**config, "settings": [*config["settings"], bad]}))
    before = node.all()
    done = node.run()
    assert done.returncode == 2
    assert message in done.stderr
    assert node.all() == before


def test_an_unknown_key_of_the_configuration_is_refused(node: Node) -> None:
    node.tell("apply")
    config = json.loads(node.config.read_text())
    config["settings"][0]["colour"] = "red"
    node.config.write_text(json.dumps(config))
    done = node.run()
    assert done.returncode == 2
    assert "colour" in done.stderr


@pytest.mark.parametrize("mode", ["apply", "dryRun"])
def test_at_its_end_the_agent_puts_back_what_it_has_set(node: Node, tmp_path: Path, mode: str) -> None:
    node.tell(mode, {"checkSeconds": 5})
    before = {path: node.get(path) for path in (BUSY, NUMA)}
    ready = tmp_path / "ready"
    with subprocess.Popen(node.command("--ready", str(ready)), stdout=subprocess.PIPE, text=True) as agent:
        try:
            _wait(ready.exists)
            assert (node.get(BUSY) == "50") == (mode == "apply")
            agent.send_signal(signal.SIGTERM)
            output, _ = agent.communicate(timeout=20)
        finally:
            agent.kill()
    assert agent.returncode == 0
    assert {path: node.get(path) for path in before} == before
    assert ("restored  net.core.busy_poll: 0" in output) == (mode == "apply")
    assert not list(node.state.glob("*")) if node.state.exists() else mode == "dryRun"


def test_the_latency_of_cpus_is_held_while_the_agent_runs(node: Node, tmp_path: Path) -> None:
    node.tell("apply", {"settings": {"cpu-dma-latency": 1}})
    ready = tmp_path / "ready"
    with subprocess.Popen(node.command("--ready", str(ready)), stdout=subprocess.DEVNULL) as agent:
        try:
            _wait(ready.exists)
            held = {str(link.readlink()) for link in Path(f"/proc/{agent.pid}/fd").iterdir()}
        finally:
            agent.terminate()
    assert str(node.root / LATENCY) in held
    assert struct.unpack("=i", (node.root / LATENCY).read_bytes()) == (1,)
    # What the device says now; the kernel's own forgets once it is closed.
    assert "ok        cpu-dma-latency: 1" in node.run("--look").stdout


def _wait(condition: Any) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)
