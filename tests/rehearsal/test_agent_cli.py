"""``inferstack node`` against a real API server: what it refuses, in words."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from inferstack.cli import app
from inferstack.errors import UserError
from inferstack.k8s import KubeClient

pytestmark = pytest.mark.rehearsal


@pytest.fixture
def node(kubeconfig: Path) -> Iterator[str]:
    """A simulated node without a GPU operator."""
    name = f"p4d-{secrets.token_hex(3)}"
    hardware = {"instanceType": "p4d.24xlarge", "cpu": "96", "memory": "1152Gi", "pods": 110}
    body: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "annotations": {
                "rehearsal.inferstack.dev/hardware": json.dumps({**hardware, "gpu": "A100-SXM4-40GB", "gpus": 8})
            },
        },
    }

    async def make(*, present: bool) -> None:
        async with await KubeClient.connect(kubeconfig) as kube:
            if present:
                await kube.create(body, field_manager="test")
            else:
                await kube.delete("v1", "Node", name)

    asyncio.run(make(present=True))
    yield name
    asyncio.run(make(present=False))


def _run(kubeconfig: Path, *args: str) -> tuple[str, str | None]:
    """Return stdout and the sentence of the error."""
    result = CliRunner().invoke(app, ["node", *args, "--kubeconfig", str(kubeconfig)])
    if isinstance(result.exception, UserError):
        return result.stdout, str(result.exception)
    assert result.exit_code == 0, result.output
    return result.stdout, None


def test_fault_commands_set_annotations_and_restore_removes_them(kubeconfig: Path, node: str) -> None:
    def annotations() -> dict[str, str]:
        async def read() -> dict[str, str]:
            async with await KubeClient.connect(kubeconfig) as kube:
                current: dict[str, str] = (await kube.get("v1", "Node", node))["metadata"]["annotations"]
                return current

        kept = asyncio.run(read())
        prefix = "rehearsal.inferstack.dev/"
        return {k.removeprefix(prefix): v for k, v in kept.items() if k in (f"{prefix}lost-gpus", f"{prefix}not-ready")}

    assert _run(kubeconfig, "lose-gpu", node, "--count", "2")[1] is None
    assert _run(kubeconfig, "not-ready", node)[1] is None
    assert annotations() == {"lost-gpus": "2", "not-ready": "true"}
    rows = {row["node"]: row for row in json.loads(_run(kubeconfig, "list", "-o", "json")[0])}
    assert rows[node]["lost_gpus"] == 2
    assert _run(kubeconfig, "restore", node)[1] is None
    assert annotations() == {}


def test_invalid_fault_commands_are_rejected(kubeconfig: Path, node: str) -> None:
    _, error = _run(kubeconfig, "lose-gpu", node, "--count", "9")
    assert error is not None
    assert f"node {node} has 8 GPUs" in error
    _, error = _run(kubeconfig, "not-ready", node + "x")
    assert error is not None
    assert error.startswith(f"There is no node '{node}x': similar names are ")
    assert node in error
    _, error = _run(kubeconfig, "mig", node, "all-balanced")
    assert error is not None
    assert error.startswith(f"Node {node} has no NVIDIA GPU")
    _, error = _run(kubeconfig / "none", "list")
    assert error is not None
    assert error.startswith("There is no kubeconfig ")
