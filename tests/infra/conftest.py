"""Hosts to look at from the outside: this machine with a running rehearsal, and real nodes given by ``--hosts``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from testinfra.host import Host  # type: ignore[import-untyped]  # it ships no types

from inferstack.apimachinery.objects import Object
from rehearsal.control_plane import Rehearsal
from tests.infra import cluster


@pytest.fixture(scope="module")
def rehearsal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsal]:
    """A control plane of these tests' own."""
    control_plane = Rehearsal(tmp_path_factory.mktemp("infra") / "state")
    control_plane.start(lambda _: None)
    yield control_plane
    control_plane.stop(purge=True)


@pytest.fixture(scope="module")
def real(host: Host, request: pytest.FixtureRequest) -> Host:
    """A real node. testinfra runs a test that asks for it once for each of ``--hosts``."""
    if request.config.getoption("hosts") is None:
        pytest.skip("needs real nodes: pytest tests/infra --hosts=ssh://NODE,ssh://NODE")
    return host


@pytest.fixture(scope="module")
def node(real: Host) -> Object:
    """The Node object of a real node; its name is the host's, short or long."""
    names = [real.check_output("hostname"), real.check_output("hostname -f")]
    try:
        match = next((node for name in names if (node := cluster.get("node", name))), None)
    except cluster.UnreachableError as error:
        pytest.skip(f"what the cluster wants of this node cannot be asked: {error}")
    if match is None:
        pytest.skip(f"the cluster of KUBECONFIG has no node {' or '.join(dict.fromkeys(names))}")
    return match


@pytest.fixture(scope="module")
def labels(node: Object) -> dict[str, str]:
    """The labels of a real node."""
    return dict(node["metadata"]["labels"])
