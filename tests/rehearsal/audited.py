"""A second API server on the store of the shared control plane, which writes down what it is readiness.

It also looks whether whoever sets an owner reference that blocks the owner's deletion may do so, as some clusters do
and the rehearsal's own does not.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from inferstack.k8s.auth import load_kubeconfig
from inferstack.toolchain import binaries
from rehearsal.control_plane import Rehearsal, probe
from rehearsal.control_plane.components.apiserver import ADMISSION, build_apiserver
from rehearsal.control_plane.model import PlaneConfig
from rehearsal.control_plane.ports import is_free, read
from rehearsal.control_plane.probe import Probe

_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    # With bodies, so that a request can be sent again.
    "rules": [{"level": "Request", "userGroups": ["system:serviceaccounts"]}, {"level": "None"}],
}
_STARTS_WITHIN = 60.0


@dataclass(frozen=True)
class Audited:
    """An API server that keeps a log."""

    kubeconfig: Path
    """The administrator's."""
    log: Path
    """Requests of service accounts, one JSON object a line."""


@contextlib.contextmanager
def audited(plane: Rehearsal, folder: Path) -> Iterator[Audited]:
    """Run it.

    Args:
        plane: that has the store; whatever else works on it goes on with its own API server.
        folder: for policy, log and kubeconfig.
    """
    config = PlaneConfig(plane.state, read(plane.state / "run" / "ports.json"))
    port = next(port for port in range(19000, 19900) if is_free(port))
    audited_server = Audited(folder / "kubeconfig", folder / "audit.log")
    (folder / "policy.yaml").write_text(yaml.safe_dump(_POLICY))
    audited_server.kubeconfig.touch(mode=0o600)
    audited_server.kubeconfig.write_text(json.dumps(_redirected(plane.kubeconfig, port)))
    changed = {
        "--secure-port": str(port),
        "--enable-admission-plugins": ",".join([*ADMISSION, "OwnerReferencesPermissionEnforcement"]),
        "--audit-policy-file": str(folder / "policy.yaml"),
        "--audit-log-path": str(audited_server.log),
    }
    kept = [argument for argument in build_apiserver(config).args if argument.partition("=")[0] not in changed]
    binary = binaries.locate("kube-apiserver")
    assert binary
    output = folder / "apiserver.log"
    with output.open("w") as log:
        server = subprocess.Popen(
            [binary, *kept, *(f"{option}={value}" for option, value in changed.items())], stdout=log, stderr=log
        )
    try:
        _wait(server, Probe(f"https://127.0.0.1:{port}/readyz", secure=True), plane.state / "pki", output)
        yield audited_server
    finally:
        server.terminate()
        server.wait(timeout=30)


def _redirected(kubeconfig: Path, port: int) -> dict[str, Any]:
    content = load_kubeconfig(kubeconfig)
    for entry in content["clusters"]:
        entry["cluster"]["server"] = f"https://127.0.0.1:{port}"
    return content


def _wait(server: subprocess.Popen[bytes], readiness: Probe, pki: Path, output: Path) -> None:
    deadline = time.monotonic() + _STARTS_WITHIN
    while probe_error := probe.check(readiness, pki):
        assert server.poll() is None, output.read_text()[-4000:]
        assert time.monotonic() < deadline, f"{probe_error}\n{output.read_text()[-4000:]}"
        time.sleep(0.1)
