"""Which add-ons are somebody else's, looked up at a real API server."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.addon.catalogue import AddonName
from components.addon.detect import find_present
from components.addon.plan import make_addons
from components.addon.settings import AddonSettings
from components.cluster.access import Access
from components.cluster.settings import Place
from components.settings import load_role
from inferstack.errors import UserError
from inferstack.k8s import KubeClient
from rehearsal.control_plane import Rehearsal
from tests.rehearsal.kinds import crds_of, served

pytestmark = pytest.mark.rehearsal

ASKED: tuple[AddonName, ...] = ("keda", "istiod", "prometheus-adapter", "fluid")


def access_of(plane: Rehearsal) -> Access:
    """Return the access that the program would use."""
    content = json.loads(plane.kubeconfig.read_text())
    return Access(plane.kubeconfig, content["current-context"], content["clusters"][0]["cluster"]["server"])


@pytest.fixture
def keda(plane: Rehearsal) -> Iterator[None]:
    """Somebody has installed KEDA's kinds."""
    with served(plane, crds_of("keda")):
        yield


def test_empty_cluster_has_no_addon(plane: Rehearsal) -> None:
    assert find_present(access_of(plane), ASKED) == frozenset()


def test_foreign_addon_is_detected(plane: Rehearsal, keda: None) -> None:
    assert find_present(access_of(plane), ASKED) == {"keda"}


async def test_own_addon_is_not_detected(plane: Rehearsal, keda: None, kube: KubeClient, namespace: str) -> None:
    # The marker is what counts, in whichever namespace it is.
    plan = make_addons(load_role("addon", AddonSettings, None), Place.LOCAL, {"keda": {}}, ())["keda"]
    marker = {**plan.marker, "metadata": {**plan.marker["metadata"], "namespace": namespace}}
    await kube.create(marker, field_manager=f"test-{secrets.token_hex(2)}")
    assert find_present(access_of(plane), ASKED) == frozenset()


def test_unreachable_cluster(plane: Rehearsal, tmp_path: Path) -> None:
    access = access_of(plane)
    path = tmp_path / "kubeconfig"
    path.write_text(plane.kubeconfig.read_text().replace(access.server, "https://127.0.0.1:1"))
    with pytest.raises(UserError, match=r"inferstack:addon\.modes"):
        find_present(Access(path, access.context, "https://127.0.0.1:1"), ASKED)
