"""``inferstack up`` from nothing to 8/8 and back, with what goes wrong on the way; the tests go in this order."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import pytest

from inferstack.project import project_root
from rehearsal.control_plane import Rehearsal
from tests.rehearsal.command import InferstackCommand, Inventory, kubectl
from tests.signals import default_interrupts

pytestmark = [pytest.mark.rehearsal, pytest.mark.timeout(600)]

JOB = "nlp-model-001"


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InferstackCommand]:
    """The command on a control plane that runs, empty."""
    inferstack = InferstackCommand(tmp_path_factory.mktemp("up") / "state")
    Rehearsal(inferstack.state).start(lambda _: None)
    try:
        yield inferstack
    finally:
        Rehearsal(inferstack.state).stop(purge=True)


@pytest.fixture(scope="module")
def empty(command: InferstackCommand) -> Inventory:
    """What the control plane holds before the first ``up``."""
    return command.settled_inventory()


@pytest.fixture(scope="module")
def running(command: InferstackCommand, empty: Inventory) -> str:
    """The stack is up; what the command printed."""
    return command.run_checked("up")


def test_unknown_setting_fails_before_any_change(command: InferstackCommand, empty: Inventory) -> None:
    code, output = command.run("up", "-c", "inferstack:gpu.mig.strategyy=mixed")

    assert code == 1
    assert "inferstack:gpu.mig.strategyy: unknown key; did you mean strategy?" in output
    assert "Traceback" not in output
    assert command.inventory() == empty


def test_table_shows_the_job(running: str, command: InferstackCommand) -> None:
    [row] = [line for line in running.splitlines() if line.startswith(JOB)]
    assert re.match(rf"{JOB}\s+nlp\s+bert-base-uncased\s+whole\s+8/8\s+8\s+\d+\s+\d+s\s*$", row), row
    pods = json.loads(kubectl(command, "get", "pods", "-n", "nlp", "-o", "json"))["items"]
    assert [pod["status"]["phase"] for pod in pods] == ["Running"] * 8


def test_outputs_and_status_are_machine_readable(running: str, command: InferstackCommand) -> None:
    outputs = {entry["name"]: entry["value"] for entry in json.loads(command.run_checked("outputs", "-o", "json"))}
    assert outputs["kubeconfig"] == str(command.kubeconfig)
    assert list(outputs["endpoints"]) == [f"nlp/{JOB}"]
    [row] = json.loads(command.run_checked("status", "-o", "json"))
    assert (row["job"], row["ready"]) == (JOB, "8/8")


def test_env_configures_kubectl_and_pulumi(running: str, command: InferstackCommand) -> None:
    script = 'eval "$("$0" -m inferstack.cli env)" && kubectl get ij -A && pulumi stack ls'
    done = subprocess.run(
        ["/bin/bash", "-c", script, sys.executable],
        cwd=project_root(),
        env=command.environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    lines = done.stdout.splitlines()
    assert {"READY", "GPUS", "PROFILE", "AGE"} <= set(lines[0].split())
    assert "8/8" in lines[1] or lines[1].split()[3] == "8"
    assert any(line.startswith("local") for line in lines)


def test_pulumi_commands_keep_the_stack_file(running: str, command: InferstackCommand) -> None:
    source = project_root() / "stacks" / "Pulumi.local.yaml"
    before = source.read_bytes()

    assert re.search(r"\d+ unchanged", command.run_checked("pulumi", "preview", "--non-interactive"))
    exported = json.loads(command.run_checked("pulumi", "stack", "export"))

    assert exported["deployment"]["resources"]
    assert source.read_bytes() == before


def test_second_up_changes_nothing(running: str, command: InferstackCommand) -> None:
    before = _versions(command)

    output = command.run_checked("up")

    assert "no changes" in output
    assert _versions(command) == before


def _versions(command: InferstackCommand) -> dict[str, str]:
    """Generation or resource version of what the stack made, by UID."""
    kinds = "namespaces,limitranges,networkpolicies,clusterroles,crds,serviceaccounts"
    items = json.loads(kubectl(command, "get", kinds, "-A", "-o", "json"))["items"]
    return {
        item["metadata"]["uid"]: item["metadata"].get("generation") or item["metadata"]["resourceVersion"]
        for item in items
    }


def test_edit_is_rolled_out(running: str, command: InferstackCommand) -> None:
    output = command.run_checked("up", "-c", "inferstack:inference.jobs[0].spec.replicas=4")

    assert re.search(rf"^{JOB}\s.*\s4/4\s", output, re.MULTILINE), output
    assert "~1" in output

    back = command.run_checked("up")

    assert re.search(rf"^{JOB}\s.*\s8/8\s", back, re.MULTILINE), back


def test_fleet_grows_and_shrinks(running: str, command: InferstackCommand) -> None:
    assert "+1" in command.run_checked("up", "-c", "inferstack:cluster.fleet.h200.count=2")
    assert "h200-1" in kubectl(command, "get", "nodes", "-o", "name")

    assert "-1" in command.run_checked("up")
    assert "h200-1" not in kubectl(command, "get", "nodes", "-o", "name")


def test_concurrent_ups_run_one_after_the_other(running: str, command: InferstackCommand) -> None:
    both = [command.start("up", log=command.state.parent / f"up-{number}.log") for number in (1, 2)]

    assert [process.wait(timeout=200) for process in both] == [0, 0]

    logs = [(command.state.parent / f"up-{number}.log").read_text() for number in (1, 2)]
    assert sum("waiting for another command on this project" in log for log in logs) == 1
    assert all("no changes" in log for log in logs)


def _start_and_wait_for_a_resource(command: InferstackCommand) -> subprocess.Popen[str]:
    """Start an ``up`` from an empty cluster and return once the engine has made the first resource."""
    events = command.state / "logs" / "pulumi-up.events"
    with default_interrupts():
        up = command.start("up")
    deadline = time.monotonic() + 60
    while "resOutputsEvent" not in (events.read_text() if events.exists() else ""):
        assert time.monotonic() < deadline, "the engine never began"
        time.sleep(0.01)
    return up


def test_next_up_converges_after_a_kill_of_the_api_server(
    running: str, command: InferstackCommand, empty: Inventory
) -> None:
    """One kill; `test_faults` has thirty, of every process that takes part."""
    command.run_checked("destroy", "--yes")
    up = _start_and_wait_for_a_resource(command)

    psutil.Process(json.loads((command.state / "run" / "kube-apiserver.json").read_text())["pid"]).kill()

    up.wait(timeout=300)
    output = command.run_checked("up")
    assert re.search(rf"^{JOB}\s.*\s8/8\s", output, re.MULTILINE), output


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_next_up_converges_after_the_command_was_stopped(
    running: str, command: InferstackCommand, empty: Inventory, sign: signal.Signals
) -> None:
    """The next ``up`` goes on from there, whichever way it was stopped."""
    command.run_checked("destroy", "--yes")
    assert command.inventory() == empty
    up = _start_and_wait_for_a_resource(command)

    up.send_signal(sign)
    code = up.wait(timeout=120)

    assert code == (-9 if sign is signal.SIGKILL else 130), command.log("up").read_text()
    output = command.run_checked("up")
    assert re.search(rf"^{JOB}\s.*\s8/8\s", output, re.MULTILINE), output


def test_exceeded_quota_is_reported_with_the_job(running: str, command: InferstackCommand) -> None:
    """The quota of the tenant is 16 GPUs: the update waits for a job that cannot be, then says why."""
    settings = ["inferstack:inference.jobs[0].spec.replicas=24", "inferstack:inference.waitSeconds=3"]
    code, output = command.run("up", "--wait", "5", *(part for setting in settings for part in ("-c", setting)))

    assert code == 1
    assert JOB in output
    assert "quota" in output
    assert "Traceback" not in output
    command.run_checked("up")


def test_down_leaves_no_process_and_no_data(running: str, command: InferstackCommand) -> None:
    assert "objects: -" in command.run_checked("down")

    assert [p for p in psutil.process_iter() if _mentions(p, str(command.state))] == []
    # What a user may have encrypted needs the passphrase; the rest makes the next `up` quick.
    left = {path.name for path in command.state.iterdir()}
    assert left <= {"passphrase", "pulumi", "pulumi-home", "stacks", "lock", "up.lock"}
    assert "nothing to take down" in command.run_checked("down")


def _mentions(process: psutil.Process, text: str) -> bool:
    try:
        return any(text in part for part in [*process.cmdline(), *process.environ().values()])
    except psutil.Error:
        return False  # another user's, or gone
