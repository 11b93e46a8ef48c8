"""Kills -9, spread over what takes part in an ``up``: after each the next ``up`` converges, nothing is left.

Five moments for each target in a stack with GPUs, tenants and jobs only, and one moment in the stack that ships with
all roles, of which a dozen namespaces take five seconds each to go.

Each case: begin an ``up`` from an empty cluster, kill one process at one moment, let the ``up`` end as it may, run
``up`` again (it must succeed and the job must be Ready), ``destroy`` (no object may be left that was not there before
the first ``up``).
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
import yaml

from inferstack.project import project_root
from rehearsal.control_plane import Rehearsal
from tests.rehearsal.command import InferstackCommand, Inventory

pytestmark = [pytest.mark.rehearsal, pytest.mark.long, pytest.mark.timeout(1800)]

TARGETS = ("engine", "provider", "operator", "kube-apiserver", "etcd")
KILLS_PER_TARGET = 5
WITHOUT = ("monitoring", "security", "kernel", "wasm", "network", "storage", "mesh", "autoscaling")
"""Roles that the small stack does without."""


@dataclass
class FaultScenario:
    """A rehearsal of its own, and when its processes live during an ``up``."""

    command: InferstackCommand
    before: Inventory = field(default_factory=set)
    """What the fresh control plane holds."""
    windows: dict[str, tuple[float, float]] = field(default_factory=dict)
    """For each target, from when to when (seconds after the start) it runs in an ``up`` that nobody disturbs."""


def find_target(target: str, state: Path, up: subprocess.Popen[str]) -> psutil.Process | None:
    """The running process that plays ``target`` in this rehearsal and this ``up``, if there is one now."""
    if target in ("kube-apiserver", "etcd"):
        record = json.loads((state / "run" / f"{target}.json").read_text())
        return psutil.Process(record["pid"]) if psutil.pid_exists(record["pid"]) else None
    if target == "operator":
        candidates = psutil.process_iter()
        needle = "inferstack.controllers"
    else:
        candidates = iter(psutil.Process(up.pid).children(recursive=True)) if up.poll() is None else iter(())
        needle = "standins.kubernetes.server"  # the stand-in: python -c "... from ....server import main ..."
    for process in candidates:
        try:
            command = process.cmdline()
            mine = process.environ().get("INFERSTACK_STATE") == str(state) or str(state) in " ".join(
                process.environ().values()
            )
        except psutil.Error:  # it ended while we looked
            continue
        if target == "engine" and command and Path(command[0]).name == "pulumi":
            return process
        if target != "engine" and mine and needle in " ".join(command):
            return process
    return None


def watch_an_up(bench: FaultScenario) -> dict[str, tuple[float, float]]:
    """Run ``up`` undisturbed and note when each target is there."""
    seen: dict[str, list[float]] = {target: [] for target in TARGETS}
    began = time.monotonic()
    up = bench.command.start("up", "-s", "local")
    while up.poll() is None:
        for target in TARGETS:
            if find_target(target, bench.command.state, up):
                seen[target].append(time.monotonic() - began)
        time.sleep(0.02)
    assert up.returncode == 0
    assert all(seen.values()), f"never seen during an up: {[target for target in seen if not seen[target]]}"
    return {target: (times[0], times[-1]) for target, times in seen.items()}


def kill_during_up(bench: FaultScenario, target: str, share: float) -> bool:
    """Begin an ``up``, kill ``target`` once ``share`` of its usual time in an ``up`` is over, let the ``up`` end.

    Returns whether there was a process to kill at that moment.
    """
    first, last = bench.windows[target]
    due = time.monotonic() + first + (last - first) * share
    up = bench.command.start("up", "-s", "local")
    killed = False
    while not killed and up.poll() is None:
        if time.monotonic() >= due and (process := find_target(target, bench.command.state, up)):
            with contextlib.suppress(psutil.NoSuchProcess):  # it ended while we looked
                process.kill()
                killed = True
        else:
            time.sleep(0.01)
    up.wait(timeout=300)
    return killed


def write_small(folder: Path) -> None:
    """Write the stack local without most of its roles."""
    content = yaml.safe_load((project_root() / "stacks" / "Pulumi.local.yaml").read_text())
    config = content["config"]
    for role in WITHOUT:
        config[f"inferstack:{role}"] = {"sriov": {"enabled": False}} if role == "network" else {"enabled": False}
    # As in the stack itself: where rules are mandatory, each `up` would preview first.
    policies = {"enforcement": "advisory"}
    config["inferstack:security"] = {"encryption": {"mode": "none", "required": False}, "policies": policies}
    for job in config["inferstack:inference"]["jobs"]:
        job["spec"].pop("cache", None)
    (folder / "Pulumi.local.yaml").write_text(yaml.safe_dump(content))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultScenario]:
    """A rehearsal for the stack of a few roles."""
    folder = tmp_path_factory.mktemp("faults")
    write_small(folder)
    with prepared(folder, {"INFERSTACK_STACKS": str(folder)}) as scenario:
        yield scenario


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultScenario]:
    """A rehearsal for the stack as it ships."""
    with prepared(tmp_path_factory.mktemp("faults"), {}) as scenario:
        yield scenario


@contextlib.contextmanager
def prepared(folder: Path, environment: dict[str, str]) -> Iterator[FaultScenario]:
    """Start a control plane, warm everything up, and time an ``up`` that nobody disturbs."""
    scenario = FaultScenario(InferstackCommand(folder / "state"))
    scenario.command.environment |= environment
    Rehearsal(folder / "state").start(lambda _: None)
    try:
        scenario.command.run_checked("up", "-s", "local")
        scenario.command.run_checked("destroy", "-s", "local", "--yes")
        scenario.before = scenario.command.settled_inventory()
        scenario.windows = watch_an_up(scenario)
        assert set(scenario.command.readiness().values()) == {"True"}
        scenario.command.run_checked("destroy", "-s", "local", "--yes")
        assert scenario.command.inventory() == scenario.before
        # A fresh plane's own objects only: nothing of ours may hide in the reference.
        ours = ("Node", "InferenceJob", "Pod")
        assert not [entry for entry in scenario.before if "inferstack" in entry[2] or entry[0] in ours]
        yield scenario
    finally:
        Rehearsal(folder / "state").stop(purge=True)


@pytest.mark.parametrize("moment", range(KILLS_PER_TARGET))
@pytest.mark.parametrize("target", TARGETS)
def test_next_up_converges_and_destroy_leaves_nothing(small: FaultScenario, target: str, moment: int) -> None:
    kill_and_go_on(small, target, (moment + 0.5) / KILLS_PER_TARGET)


@pytest.mark.parametrize("target", TARGETS)
def test_next_up_converges_with_all_roles(whole: FaultScenario, target: str) -> None:
    kill_and_go_on(whole, target, 0.5)


def kill_and_go_on(bench: FaultScenario, target: str, share: float) -> None:
    """Kill ``target`` in an ``up``, then see that the next one converges and a ``destroy`` leaves nothing."""
    # A run may be quicker than the one that was watched: then nobody was killed, and it is tried again a bit earlier.
    for earlier in (1, 0.7, 0.4, 0.2):
        if kill_during_up(bench, target, share * earlier):
            break
        bench.command.run_checked("destroy", "-s", "local", "--yes")
    else:
        pytest.fail(f"no {target} was met while `up` ran")

    bench.command.run_checked("up", "-s", "local")

    states = bench.command.readiness()
    assert states
    assert set(states.values()) == {"True"}
    bench.command.run_checked("destroy", "-s", "local", "--yes")
    assert bench.command.inventory() == bench.before
