"""The same examples at the API server: it must judge each as the policy pack does."""

from __future__ import annotations

import asyncio
import copy
import datetime as dt
import secrets
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from components.addon.catalogue import AddonName
from inferstack.api.crd import crds
from inferstack.apimachinery.objects import Object
from inferstack.k8s import ApiError, KubeClient
from inferstack.policy.admission import make_policy
from inferstack.policy.examples import TENANTS
from inferstack.policy.model import Example, Rule
from inferstack.policy.registry import find, rules
from rehearsal.control_plane import Rehearsal
from tests.rehearsal.kinds import crds_of, served
from tests.unit.policy.test_rules import findings, settings

pytestmark = pytest.mark.rehearsal

MANAGER = "test"
TODAY = dt.date(2026, 11, 25)
ADDONS: tuple[AddonName, ...] = ("gpu-operator", "istio-base", "sriov-network-operator")
"""Whose kinds rules are about, beside Kubernetes' own and the InferenceJob."""
IN_CEL = [rule for rule in rules().values() if rule.cel]


@dataclass(frozen=True)
class Place:
    """Where examples of one rule are tried: a policy goes in the background, and may still be there for the next."""

    label: str
    """On its namespaces: the rule's policy holds nowhere else."""
    names: dict[str, str]
    """Its namespaces by their name in the examples."""


@pytest.fixture(scope="module", autouse=True)
def kinds(plane: Rehearsal) -> Iterator[None]:
    """The kinds that rules are about: an object of an unknown kind would be refused for that."""
    with served(plane, [*crds(), *crds_of(*ADDONS)]):
        yield


@pytest.fixture
async def place(kube: KubeClient, request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    """The namespaces that the examples of a rule name, under names that no other test uses."""
    rule: Rule = request.getfixturevalue("rule")
    place = Place(f"test/policy-{secrets.token_hex(4)}", {})
    listed = [shown["metadata"] for example in (*rule.good, *rule.bad) for shown in example.resources]
    for name in sorted({meta["namespace"] for meta in listed if "namespace" in meta}):
        labels = {place.label: "true"} | ({"inferstack.dev/tenant": name} if name in TENANTS else {})
        place.names[name] = f"{name}-{secrets.token_hex(3)}"
        namespace: Object = {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": place.names[name], "labels": labels},
        }
        await kube.create(namespace, field_manager=MANAGER)
    yield place
    for name in place.names.values():
        await kube.delete("v1", "Namespace", name, propagation="Background")


def moved(value: Any, names: dict[str, str]) -> Any:
    """Return a value with the names of namespaces replaced."""
    if isinstance(value, dict):
        return {key: moved(below, names) for key, below in value.items()}
    if isinstance(value, list | tuple):
        return [moved(below, names) for below in value]
    return names.get(value, value) if isinstance(value, str) else value


async def judged(kube: KubeClient, example: Example, place: Place) -> list[str]:
    """Return what the API server has against the objects of an example, which it does not keep."""
    messages = []
    for shown in example.resources:
        manifest = moved(copy.deepcopy(shown), place.names)
        if manifest["kind"] == "Namespace":
            manifest["metadata"].setdefault("labels", {})[place.label] = "true"
        try:
            await kube.create(manifest, field_manager=MANAGER, dry_run=True)
        except ApiError as error:
            # Some of what a rule tells in a preview the API server refuses by itself.
            if "ValidatingAdmissionPolicy" not in error.message and not error.invalid:
                raise
            messages.append(error.message)
    return messages


async def settled(kube: KubeClient, shown: list[Example], wanted: list[bool], place: Place) -> list[list[str]]:
    """Return what the API server says of examples, once it has learnt of a policy: that happens in the background."""
    messages: list[list[str]] = []
    for _ in range(50):
        messages = [await judged(kube, example, place) for example in shown]
        if list(map(bool, messages)) == wanted:
            break
        await asyncio.sleep(0.2)
    return messages


@pytest.mark.parametrize("rule", IN_CEL, ids=[rule.id for rule in IN_CEL])
async def test_policy_pack_and_admission_policies_agree(kube: KubeClient, place: Place, rule: Rule) -> None:
    shown = [*rule.good, *rule.bad]
    for config in {repr(example.config): example.config for example in shown}.values():
        rejected = [bool(findings(rule, example.model_copy(update={"config": config}))) for example in shown]
        assert any(rejected)
        given = {rule.id: moved({**rule.defaults, **config}, place.names)} if rule.config else {}
        held = settings(config=given)
        policy, binding = make_policy(rule, held, TODAY, tenant_label="inferstack.dev/tenant", labels={})
        selector = binding["spec"].setdefault("matchResources", {}).setdefault("namespaceSelector", {})
        selector.setdefault("matchExpressions", []).append({"key": place.label, "operator": "Exists"})
        for manifest in (policy, binding):
            await kube.create(manifest, field_manager=MANAGER)
        try:
            for example, wrong, refusals in zip(
                shown, rejected, await settled(kube, shown, rejected, place), strict=True
            ):
                assert bool(refusals) is wrong, f"{example.title}: {refusals}"
                assert all(rule.id in refusal for refusal in refusals if "ValidatingAdmissionPolicy" in refusal)
        finally:
            for manifest in (binding, policy):
                await kube.delete(
                    manifest["apiVersion"], manifest["kind"], manifest["metadata"]["name"], propagation="Background"
                )


@pytest.mark.parametrize("rule", [find("pods-not-privileged")], ids=["pods-not-privileged"])
async def test_exception_applies_to_admission(kube: KubeClient, place: Place, rule: Rule) -> None:
    pod, deployment = rule.bad
    leave = {
        "rule": rule.id,
        "resource": f"Pod {place.names['nlp']}/ser*",
        "owner": "nlp",
        "reason": "its profiler reads the counters of the CPU",
        "expires": TODAY,
    }
    ended = {**leave, "resource": "*", "expires": TODAY - dt.timedelta(days=1)}
    held = settings(exceptions=[ended, leave])
    policy, binding = make_policy(rule, held, TODAY, tenant_label="inferstack.dev/tenant", labels={})
    binding["spec"]["matchResources"] = {"namespaceSelector": {"matchLabels": {place.label: "true"}}}
    for manifest in (policy, binding):
        await kube.create(manifest, field_manager=MANAGER)
    try:
        assert [bool(errors) for errors in await settled(kube, [pod, deployment], [False, True], place)] == [
            False,
            True,
        ]
    finally:
        for manifest in (binding, policy):
            await kube.delete(
                manifest["apiVersion"], manifest["kind"], manifest["metadata"]["name"], propagation="Background"
            )
