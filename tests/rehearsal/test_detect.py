"""Which add-ons are somebody else's, looked up at a real API server."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator

import pytest

from components.addon.catalogue import AddonName, load
from components.addon.detect import find_present
from components.addon.plan import make_addons
from components.addon.settings import AddonSettings
from components.cluster.access import Access
from components.cluster.settings import Place
from components.settings import load_role
from inferstack.errors import UserError
from inferstack.kube import KubeClient
from inferstack.rehearsal import crds
from inferstack.rehearsal.plane import Rehearsal

pytestmark = pytest.mark.rehearsal

ASKED: tuple[AddonName, ...] = ("keda", "istiod", "prometheus-adapter", "fluid")


def access_of(plane: Rehearsal) -> Access:
    """Return the access that the program would use."""
    return Access(plane.kubeconfig, "rehearsal", "https://127.0.0.1")


@pytest.fixture
async def keda(kube: KubeClient) -> AsyncIterator[None]:
    """Somebody has installed KEDA's kinds."""
    made = crds.load("keda", load()["keda"].crds)
    for crd in made:
        await kube.create(crd, field_manager="somebody")
    yield
    for crd in made:
        await kube.delete("apiextensions.k8s.io/v1", "CustomResourceDefinition", crd["metadata"]["name"])


async def test_nothing_is_there(plane: Rehearsal) -> None:
    assert find_present(access_of(plane), ASKED) == frozenset()


async def test_what_somebody_else_installed_is_present(plane: Rehearsal, keda: None) -> None:
    assert find_present(access_of(plane), ASKED) == {"keda"}


async def test_what_we_installed_ourselves_is_not(
    plane: Rehearsal, keda: None, kube: KubeClient, namespace: str
) -> None:
    plan = make_addons(load_role("addon", AddonSettings, None), Place.LOCAL, {"keda": {}}, ())["keda"]
    marker = {**plan.marker, "metadata": {**plan.marker["metadata"], "namespace": namespace}}
    await kube.create(marker, field_manager=f"test-{secrets.token_hex(2)}")
    assert find_present(access_of(plane), ASKED) == frozenset()


def test_a_cluster_that_does_not_answer(plane: Rehearsal, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("away") / "kubeconfig"
    text = plane.kubeconfig.read_text()
    server = next(part for part in text.split('"') if part.startswith("https://"))
    path.write_text(text.replace(server, "https://127.0.0.1:1"))
    with pytest.raises(UserError, match=r"^What is installed in .* cannot be looked up: .*inferstack:addon\.modes"):
        find_present(Access(path, "rehearsal", "https://127.0.0.1:1"), ASKED)
