"""What is kept in mind of a creation whose end nobody knows."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import pytest

from inferstack.k8s import ApiError
from standins.kubernetes.cluster import Cluster
from standins.kubernetes.errors import OperationError
from standins.kubernetes.inflight import InFlight
from standins.kubernetes.lifecycle import Target, create

URN = "urn:pulumi:local::inferstack::kubernetes:core/v1:ConfigMap::c"
MANIFEST = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "default"}}


class Refusing:
    """A client whose API server ends every creation in one way."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def resource(self, *_: str) -> Any:
        """Return where the kind is served."""
        return SimpleNamespace(namespaced=True)

    async def create(self, *_: Any, **__: Any) -> Any:
        """Fail."""
        raise self._error


def cluster_with(error: Exception, home: Path) -> Cluster:
    async def client() -> Any:
        return Refusing(error)

    settings = SimpleNamespace(upsert=False)
    return cast("Cluster", SimpleNamespace(in_flight=InFlight(str(home)), settings=settings, client=client))


async def silent(_: str) -> None:
    """Take what an operation tells on its way."""


def answered(code: int, reason: str) -> ApiError:
    return ApiError(code, {"reason": reason, "message": reason}, request="POST /api/v1/configmaps")


@pytest.mark.parametrize(
    ("error", "kept"),
    [
        pytest.param(aiohttp.ServerDisconnectedError(), True, id="no answer"),
        pytest.param(answered(500, "InternalError"), True, id="etcd went away"),
        pytest.param(answered(504, "Timeout"), True, id="etcd was slow"),
        pytest.param(answered(422, "Invalid"), False, id="refused"),
        pytest.param(answered(409, "AlreadyExists"), False, id="somebody else's"),
    ],
)
async def test_uncertain_creation_is_remembered(error: Exception, kept: bool, tmp_path: Path) -> None:
    cluster = cluster_with(error, tmp_path)
    target = Target(urn=URN, inputs=MANIFEST, manager="test", is_patch=False)
    with pytest.raises(OperationError, match="was not successfully created"):
        await create(cluster, target, silent)
    assert cluster.in_flight.interrupted(URN) is kept
