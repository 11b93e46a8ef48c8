"""The ``inferstack`` command on a rehearsal of its own, and what the API server then holds."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

from inferstack.k8s import KubeClient
from inferstack.k8s.inventory import walk
from inferstack.project import project_root
from inferstack.toolchain import binaries

Inventory = set[tuple[str, str, str]]
"""Objects as (kind, namespace, name)."""


class InferstackCommand:
    """Runs ``inferstack`` with a state folder of its own.

    Args:
        state: the state folder.
    """

    def __init__(self, state: Path) -> None:
        self.state = state
        self.kubeconfig = state / "kubeconfig"
        self.environment = {**os.environ, "INFERSTACK_STATE": str(state), "NO_COLOR": "1"}

    def log(self, verb: str) -> Path:
        """Where the output of ``inferstack VERB`` goes: all of it in one file, as on a terminal."""
        return self.state.parent / f"{verb}.log"

    def start(self, *arguments: str, log: Path | None = None) -> subprocess.Popen[str]:
        """Start ``inferstack ARGUMENTS``."""
        with (log or self.log(arguments[0])).open("w") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "inferstack.cli", *arguments],
                cwd=project_root(),
                env=self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
            )

    def run(self, *arguments: str) -> tuple[int, str]:
        """Run ``inferstack ARGUMENTS`` and return its exit code and what it printed."""
        code = self.start(*arguments).wait(timeout=300)
        return code, self.log(arguments[0]).read_text()

    def run_checked(self, *arguments: str) -> str:
        """Run ``inferstack ARGUMENTS``, which must succeed, and return what it printed."""
        code, output = self.run(*arguments)
        assert code == 0, f"inferstack {' '.join(arguments)} ended with {code}:\n{output[-6000:]}"
        return output

    def inventory(self) -> Inventory:
        """Return all objects of all kinds that can be listed, but for those that come and go by themselves."""
        return asyncio.run(_inventory(self.kubeconfig))

    def settled_inventory(self) -> Inventory:
        """Return what `inventory` does, once each namespace has what the control plane puts into it."""
        deadline = time.monotonic() + 30
        while True:
            inventory = self.inventory()
            namespaces = {name for kind, _, name in inventory if kind == "Namespace"}
            own = {
                entry
                for namespace in namespaces
                for entry in (("ServiceAccount", namespace, "default"), ("ConfigMap", namespace, "kube-root-ca.crt"))
            }
            if own <= inventory:
                return inventory
            assert time.monotonic() < deadline, f"the control plane never made {own - inventory}"
            time.sleep(0.2)

    def readiness(self) -> dict[str, str]:
        """Return the status of condition Ready of every InferenceJob by its name, as the API server has it."""
        return asyncio.run(_readiness(self.kubeconfig))


def kubectl(command: InferstackCommand, *arguments: str) -> str:
    """Run kubectl on the command's control plane and return what it printed."""
    binary = binaries.locate("kubectl")
    assert binary
    done = subprocess.run(
        [binary, "--kubeconfig", command.kubeconfig, *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout


async def _inventory(kubeconfig: Path) -> Inventory:
    async with await KubeClient.connect(kubeconfig) as kube:
        return {
            (obj["kind"], obj["metadata"].get("namespace", ""), obj["metadata"]["name"]) async for obj in walk(kube)
        }


async def _readiness(kubeconfig: Path) -> dict[str, str]:
    async with await KubeClient.connect(kubeconfig) as kube:
        listed = await kube.list("deepseek.ai/v1", "InferenceJob")
    return {
        job["metadata"]["name"]: next(
            (c["status"] for c in job.get("status", {}).get("conditions", []) if c["type"] == "Ready"), "Unknown"
        )
        for job in listed["items"]
    }
