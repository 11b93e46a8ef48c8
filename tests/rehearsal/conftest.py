"""A running rehearsal for the tests that need a real API server."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from inferstack.k8s import KubeClient
from rehearsal.control_plane import Rehearsal


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsal]:
    """A control plane of its own, shared by the tests of a run; gone afterwards."""
    rehearsal = Rehearsal(tmp_path_factory.mktemp("plane") / "state")
    rehearsal.start(lambda _: None)
    yield rehearsal
    rehearsal.stop(purge=True)


@pytest.fixture(scope="session")
def kubeconfig(plane: Rehearsal) -> Path:
    """The administrator's kubeconfig of the shared control plane."""
    return plane.kubeconfig


@pytest.fixture
async def kube(kubeconfig: Path) -> AsyncIterator[KubeClient]:
    """A client of the shared control plane."""
    async with await KubeClient.connect(kubeconfig) as client:
        yield client


@pytest.fixture
async def namespace(kube: KubeClient) -> AsyncIterator[str]:
    """The name of a fresh namespace, deleted afterwards."""
    name = f"test-{secrets.token_hex(4)}"
    await kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}, field_manager="test")
    yield name
    await kube.delete("v1", "Namespace", name, propagation="Background")
