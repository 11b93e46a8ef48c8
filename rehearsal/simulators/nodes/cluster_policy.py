"""The GPU operator itself: reads the ClusterPolicy and the MIG configuration and writes the ClusterPolicy's status."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from inferstack.apimachinery.objects import Object
from inferstack.apimachinery.rfc3339 import format_time
from inferstack.k8s import ApiError, KubeClient
from inferstack.k8s.informer import Informer, key_of, newer_of
from inferstack.k8s.workqueue import WorkQueue
from inferstack.mig.gpu_operator import API_VERSION
from rehearsal.simulators import FIELD_MANAGER
from rehearsal.simulators.nodes.policy import (
    KIND,
    NAME,
    NAMESPACE,
    Policy,
    parse_policy,
)

log = logging.getLogger("gpu-operator")


def make_status(name: str, policy: Policy, generation: int) -> Object:
    """Return the status as the operator writes it, without the times of the conditions.

    The state is ``ready`` when all operands run, ``notReady`` while the ConfigMap of an operand is missing, and
    ``ignored`` for a second ClusterPolicy, because the operator accepts only one.
    """
    if name != NAME:
        return {"namespace": NAMESPACE, "state": "ignored"}
    waiting = "; ".join(_waiting(policy))
    problems = "; ".join(problem for problem in (policy.layouts_problem, policy.sharing_problem) if problem)
    conditions = [
        {
            "type": "Ready",
            "status": "False" if waiting else "True",
            "reason": "OperandNotReady" if waiting else "Reconciled",
            "message": waiting or "all operands run",
            "observedGeneration": generation,
        },
        {
            "type": "Error",
            "status": "True" if problems else "False",
            "reason": _reason(policy),
            "message": problems,
            "observedGeneration": generation,
        },
    ]
    return {"namespace": NAMESPACE, "state": "notReady" if waiting else "ready", "conditions": conditions}


def _waiting(policy: Policy) -> Iterator[str]:
    """Yield the operands whose pods are waiting for a ConfigMap."""
    if policy.mig_manager and policy.layouts is None:
        yield f"mig-manager: {policy.layouts_problem}"
    if policy.device_plugin and policy.sharing_map and policy.sharing is None:
        yield f"device-plugin: {policy.sharing_problem}"


def _reason(policy: Policy) -> str:
    if policy.layouts_problem:
        return "MigConfiguration"
    return "DevicePluginConfiguration" if policy.sharing_problem else "Ready"


def status_differs(current: Mapping[str, Any] | None, desired: Mapping[str, Any]) -> bool:
    """Return whether two statuses differ, ignoring times."""
    current = current or {}
    stripped = [
        {key: value for key, value in condition.items() if key != "lastTransitionTime"}
        for condition in current.get("conditions") or []
    ]
    return {**current, "conditions": stripped} != {"conditions": [], **desired}


class PolicyController:
    """Holds the current policy for the nodes and writes the status of the ClusterPolicy.

    Args:
        kube: connected client.
        on_change: called when the policy or the layouts change.
    """

    def __init__(self, kube: KubeClient, *, on_change: Callable[[], None]) -> None:
        self._kube = kube
        self._on_change = on_change
        self._queue = WorkQueue(self._reconcile, workers=1, name="gpu-operator")
        # The operator's chart installs the CRD. Until then, nodes look like those of a cluster without the operator.
        self.policies = Informer(kube, API_VERSION, KIND, on_change=self._policy_changed, optional=True)
        self.config_maps = Informer(
            kube, "v1", "ConfigMap", namespace=NAMESPACE, on_change=self._config_changed, prune=_prune_config_map
        )
        self.current: Policy | None = None

    async def run(self) -> None:
        """Run until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.policies.run())
            group.create_task(self.config_maps.run())
            group.create_task(self._queue.run())

    def _policy_changed(self, before: Object | None, after: Object | None) -> None:
        name = key_of(newer_of(before, after))
        if after is not None:
            self._queue.add(name)
        if name == NAME:
            self._refresh()

    def _config_changed(self, _before: Object | None, _after: Object | None) -> None:
        for name in self.policies.objects:
            self._queue.add(name)
        self._refresh()

    def _refresh(self) -> None:
        cluster_policy = self.policies.objects.get(NAME)
        # Operands stop when the policy starts terminating; the object itself may wait for the garbage collector.
        terminating = cluster_policy is None or cluster_policy["metadata"].get("deletionTimestamp")
        policy = None if cluster_policy is None or terminating else parse_policy(cluster_policy, self._maps())
        if policy == self.current:
            return
        if policy and policy.layouts_problem:
            log.warning("MIG manager: %s", policy.layouts_problem)
        if policy and policy.sharing_problem:
            log.warning("device plugin: %s", policy.sharing_problem)
        self.current = policy
        self._on_change()

    def _maps(self) -> dict[str, Object]:
        return {key.partition("/")[2]: obj for key, obj in self.config_maps.objects.items()}

    async def _reconcile(self, name: str) -> float | None:
        cluster_policy = self.policies.objects.get(name)
        if cluster_policy is None:
            return None
        if not self.config_maps.synced.is_set():
            return 0.2
        desired = make_status(
            name, parse_policy(cluster_policy, self._maps()), cluster_policy["metadata"].get("generation", 0)
        )
        if not status_differs(cluster_policy.get("status"), desired):
            return None
        now = format_time(datetime.now(UTC))
        for condition in desired.get("conditions", []):
            condition["lastTransitionTime"] = now
        served = await self._kube.resource(API_VERSION, KIND)
        body = {"metadata": {"uid": cluster_policy["metadata"]["uid"]}, "status": desired}
        try:
            self.policies.remember(
                await self._kube.patch(
                    API_VERSION,
                    KIND,
                    name,
                    body,
                    field_manager=FIELD_MANAGER,
                    subresource="status" if "status" in served.subresources else None,
                )
            )
        except ApiError as error:
            if error.not_found:
                return None
            raise
        return None


def _prune_config_map(obj: Object) -> Object:
    meta = obj["metadata"]
    return {
        "metadata": {key: meta[key] for key in ("name", "namespace", "uid", "resourceVersion")},
        "data": obj.get("data"),
    }
