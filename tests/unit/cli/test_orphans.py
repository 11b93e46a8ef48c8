"""What nobody would remove."""

from __future__ import annotations

from typing import Any

import pytest

from components.objects import LABELS
from inferstack.apimachinery.labels import ADDON
from inferstack.cli.stack.orphans import find, identity_of

RELEASED = {"meta.helm.sh/release-name": "keda", "meta.helm.sh/release-namespace": "keda"}


def make(kind: str, name: str, namespace: str = "", **meta: Any) -> dict[str, Any]:
    """Return an object as the API server lists it."""
    space = {"namespace": namespace} if namespace else {}
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, **space, **meta}}


MARKER = make("ConfigMap", "inferstack-addon-keda", "keda", labels={**LABELS, ADDON: "keda"})
JOB = make("InferenceJob", "bert", "nlp")


def test_an_object_of_ours_that_the_state_does_not_know() -> None:
    mine = make("Namespace", "keda", labels=LABELS)
    (orphan,) = find([mine, make("Namespace", "default")], set(), set())
    assert (orphan.kind, orphan.name) == ("Namespace", "keda")
    assert "not in the stack's state" in orphan.why
    assert find([mine], {identity_of(mine)}, set()) == []


def test_what_a_controller_made_goes_with_it() -> None:
    owner = [{"kind": "DaemonSet", "name": "kernel", "controller": True}]
    assert find([make("Pod", "kernel-x", "kernel", labels=LABELS, ownerReferences=owner)], set(), set()) == []


def test_one_that_cannot_end_says_what_it_waits_for() -> None:
    stuck = make("Dataset", "d", "nlp", labels=LABELS, finalizers=["f/x"], deletionTimestamp="2026-01-01T00:00:00Z")
    (orphan,) = find([stuck], set(), set())
    assert orphan.why.endswith(" f/x")


def test_what_a_job_left_when_it_is_gone() -> None:
    labels = {"inferstack.dev/job": "bert", "app.kubernetes.io/part-of": "inferstack"}
    owner = [{"kind": "ReplicaSet", "name": "bert-1"}]
    deployment = make("Deployment", "bert", "nlp", labels=labels, ownerReferences=[{"kind": "InferenceJob"}])
    pod = make("Pod", "bert-1-x", "nlp", labels=labels, ownerReferences=owner)
    assert find([JOB, deployment, pod], set(), set()) == []
    (orphan,) = find([deployment, pod], set(), set())
    assert orphan.kind == "Deployment"
    assert "InferenceJob nlp/bert" in orphan.why


@pytest.mark.parametrize(
    ("objects", "releases", "number"),
    [
        # Ours, and its release is in the state: helm removes it.
        ([MARKER], {"keda"}, 0),
        ([MARKER], set(), 1),
        # Somebody else's add-on of the same name has no marker.
        ([], set(), 0),
    ],
)
def test_what_helm_left(objects: list[Any], releases: set[str], number: int) -> None:
    role = make("ClusterRole", "keda", annotations=RELEASED)
    owned = {identity_of(MARKER)}
    assert len(find([*objects, role], owned, releases)) == number


def test_a_release_of_the_same_name_in_another_namespace_is_not_ours() -> None:
    role = make("ClusterRole", "x", annotations={**RELEASED, "meta.helm.sh/release-namespace": "elsewhere"})
    assert find([MARKER, role], {identity_of(MARKER)}, set()) == []
