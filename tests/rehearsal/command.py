"""The ``inferstack`` command on a rehearsal of its own, and what the API server then holds."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

from inferstack.kube import ApiError, KubeClient
from inferstack.project import project_root

Held = set[tuple[str, str, str]]
"""Objects as (kind, namespace, name)."""

# Made and renewed by the control plane itself, at times of its own.
VOLATILE = {"Event", "Lease", "EndpointSlice", "Endpoints", "ComponentStatus"}


class Command:
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

    def must(self, *arguments: str) -> str:
        """Run ``inferstack ARGUMENTS``, which must succeed, and return what it printed."""
        code, output = self.run(*arguments)
        assert code == 0, f"inferstack {' '.join(arguments)} ended with {code}:\n{output[-6000:]}"
        return output

    def held(self) -> Held:
        """Return all objects of all kinds that can be listed, but for those that come and go by themselves."""
        return asyncio.run(_held(self.kubeconfig))

    def settled(self) -> Held:
        """Return what `held` does, once each namespace has what the control plane puts into it."""
        deadline = time.monotonic() + 30
        while True:
            found = self.held()
            namespaces = {name for kind, _, name in found if kind == "Namespace"}
            own = {
                entry
                for namespace in namespaces
                for entry in (("ServiceAccount", namespace, "default"), ("ConfigMap", namespace, "kube-root-ca.crt"))
            }
            if own <= found:
                return found
            assert time.monotonic() < deadline, f"the control plane never made {own - found}"
            time.sleep(0.2)

    def readiness(self) -> dict[str, str]:
        """Return the status of condition Ready of every InferenceJob by its name, as the API server has it."""
        return asyncio.run(_readiness(self.kubeconfig))


async def _held(kubeconfig: Path) -> Held:
    found: Held = set()
    async with await KubeClient.connect(kubeconfig) as kube:
        groups = (await kube.request("GET", "/apis"))["groups"]
        for version in ["v1", *(group["preferredVersion"]["groupVersion"] for group in groups)]:
            base = f"/apis/{version}" if "/" in version else f"/api/{version}"
            for entry in (await kube.request("GET", base))["resources"]:
                if "/" in entry["name"] or "list" not in entry["verbs"] or entry["kind"] in VOLATILE:
                    continue
                try:
                    listed = await kube.list(version, entry["kind"])
                except ApiError as error:
                    if not error.not_found:  # a kind whose CRD went between discovery and list
                        raise
                    continue
                for item in listed["items"]:
                    meta = item["metadata"]
                    found.add((entry["kind"], meta.get("namespace", ""), meta["name"]))
    return found


async def _readiness(kubeconfig: Path) -> dict[str, str]:
    async with await KubeClient.connect(kubeconfig) as kube:
        listed = await kube.list("deepseek.ai/v1", "InferenceJob")
    return {
        job["metadata"]["name"]: next(
            (c["status"] for c in job.get("status", {}).get("conditions", []) if c["type"] == "Ready"), "Unknown"
        )
        for job in listed["items"]
    }
