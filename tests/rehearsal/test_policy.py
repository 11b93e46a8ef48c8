"""The same examples at the API server: it must judge each as the policy pack does."""

from __future__ import annotations

import asyncio
import copy
import datetime as dt
import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest

from inferstack.kube import ApiError, KubeClient
from inferstack.policy.admission import make_policy
from inferstack.policy.examples import TENANTS
from inferstack.policy.model import Example, Rule
from inferstack.policy.registry import rules
from tests.unit.policy.test_rules import settings

pytestmark = pytest.mark.rehearsal

Object = dict[str, Any]
MANAGER = "test"
LABEL = f"test/policy-{secrets.token_hex(4)}"
"""On the namespaces of this module: what it installs holds nowhere else."""
TODAY = dt.date(2026, 11, 25)
IN_CEL = [rule for rule in rules().values() if rule.cel]


@pytest.fixture
async def namespaces(kube: KubeClient) -> AsyncIterator[dict[str, str]]:
    """The namespaces that examples name, under names that no other test uses; by the name in the examples."""
    named = {
        example["metadata"]["namespace"]
        for rule in IN_CEL
        for shown in (*rule.good, *rule.bad)
        for example in shown.resources
        if "namespace" in example["metadata"]
    }
    made = {}
    for name in sorted(named - {"kube-system"}):
        labels = {LABEL: "true"} | ({"inferstack.dev/tenant": name} if name in TENANTS else {})
        made[name] = f"{name}-{secrets.token_hex(3)}"
        namespace: Object = {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": made[name], "labels": labels},
        }
        await kube.create(namespace, field_manager=MANAGER)
    yield made
    for name in made.values():
        await kube.delete("v1", "Namespace", name, propagation="Background")


def moved(value: Any, names: dict[str, str]) -> Any:
    """Return a value with the names of namespaces replaced."""
    if isinstance(value, dict):
        return {key: moved(below, names) for key, below in value.items()}
    if isinstance(value, list | tuple):
        return [moved(below, names) for below in value]
    return names.get(value, value) if isinstance(value, str) else value


async def judged(kube: KubeClient, example: Example, names: dict[str, str]) -> list[str]:
    """Return what the API server's policies have against the objects of an example, which it does not keep."""
    said = []
    for shown in example.resources:
        manifest = moved(copy.deepcopy(shown), names)
        try:
            await kube.create(manifest, field_manager=MANAGER, dry_run=True)
        except ApiError as error:
            if "ValidatingAdmissionPolicy" not in error.message:
                raise
            said.append(error.message)
    return said


async def refusing(kube: KubeClient, wrong: list[Example], names: dict[str, str]) -> None:
    """Wait until the API server, which learns of a policy in the background, refuses one of the examples."""
    async with asyncio.timeout(30):
        while True:
            for example in wrong:
                if await judged(kube, example, names):
                    return
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("rule", IN_CEL, ids=[rule.id for rule in IN_CEL])
async def test_both_gates_judge_alike(kube: KubeClient, namespaces: dict[str, str], rule: Rule) -> None:
    shown = [(example, False) for example in rule.good] + [(example, True) for example in rule.bad]
    for config in {repr(example.config): example.config for example, _ in shown}.values():
        given = {rule.id: moved({**rule.defaults, **config}, namespaces)} if rule.config else {}
        policy, binding = make_policy(
            rule, settings(config=given), TODAY, tenant_label="inferstack.dev/tenant", labels={}
        )
        expressions = binding["spec"].setdefault("matchResources", {}).setdefault("namespaceSelector", {})
        expressions.setdefault("matchExpressions", []).append({"key": LABEL, "operator": "Exists"})
        await kube.create(policy, field_manager=MANAGER)
        await kube.create(binding, field_manager=MANAGER)
        try:
            alike = [(example, bad) for example, bad in shown if example.config == config]
            await refusing(kube, [example for example, bad in alike if bad], namespaces)
            for example, bad in alike:
                said = await judged(kube, example, namespaces)
                assert bool(said) is bad, f"{example.title}: {said}"
                assert all(rule.id in one for one in said)
        finally:
            for made in (binding, policy):
                await kube.delete(made["apiVersion"], made["kind"], made["metadata"]["name"], propagation="Background")
