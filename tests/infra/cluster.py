"""What the cluster says of a node, asked with the kubectl and KUBECONFIG of whoever runs the tests."""

from __future__ import annotations

import json
import os
import shutil
import subprocess

import pytest

from inferstack.apimachinery.objects import Object
from inferstack.toolchain import binaries

_SECONDS = 30


class UnreachableError(Exception):
    """No cluster answers; the message says why."""


def get(kind: str, name: str, namespace: str | None = None) -> Object | None:
    """Return an object, None where it (or its kind) is not there.

    Raises:
        UnreachableError: there is no kubectl, no KUBECONFIG, or no answer.
    """
    kubectl = shutil.which("kubectl") or binaries.locate("kubectl")
    if kubectl is None:
        raise UnreachableError("there is no kubectl on this machine")
    if "KUBECONFIG" not in os.environ:
        raise UnreachableError("KUBECONFIG is not set")
    where = ["--namespace", namespace] if namespace else []
    command = [str(kubectl), "get", kind, name, *where, "--output", "json", f"--request-timeout={_SECONDS}s"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=2 * _SECONDS, check=False)
    if done.returncode == 0:
        return dict(json.loads(done.stdout))
    if "NotFound" in done.stderr or "the server doesn't have a resource type" in done.stderr:
        return None
    raise UnreachableError(done.stderr.strip())


def data_of(name: str, namespace: str, key: str) -> str:
    """Return a key of a ConfigMap; skips the test where it is not there."""
    config_map = get("configmap", name, namespace)
    if config_map is None or key not in config_map.get("data", {}):
        pytest.skip(f"the cluster has no ConfigMap {namespace}/{name} with a key {key}")
    return str(config_map["data"][key])
