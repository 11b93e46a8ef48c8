"""The node controller: computes the desired state of each node from its roles and patches the difference."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from inferstack.apimachinery.objects import Object
from inferstack.apimachinery.rfc3339 import format_time
from inferstack.k8s import ApiError, KubeClient
from inferstack.k8s.client import STRATEGIC
from inferstack.k8s.informer import Informer, key_of, newer_of
from inferstack.k8s.workqueue import WorkQueue
from inferstack.mig.sharing import CONFIG_LABEL
from rehearsal.hardware import Hardware, HardwareError, faults_of, hardware_of
from rehearsal.simulators import FIELD_MANAGER
from rehearsal.simulators.desired import Desired, metadata_patch, status_patch
from rehearsal.simulators.nodes import device_plugin, discovery, kubelet, mig_manager, virtual_functions
from rehearsal.simulators.nodes.policy import Policy

log = logging.getLogger("nodes")

_LONGEST_PAUSE = 10.0
_QUIET = 60.0
"""Seconds after which an identical write no longer counts as a repetition."""


@dataclass(frozen=True)
class NodePlan:
    """The desired state of a node, combined from all its roles."""

    desired: Desired
    pending: bool
    wait: float | None
    note: str | None


def plan(
    node: Mapping[str, Any],
    hardware: Hardware,
    policy: Policy | None,
    *,
    elapsed: float | None,
    mig_seconds: float,
    functions: Mapping[str, int] = MappingProxyType({}),
) -> NodePlan:
    """Return the desired state of a node; arguments as in `mig_manager.desired` and `virtual_functions.desired`."""
    faults = faults_of(node)
    seconds = mig_seconds if hardware.mig_seconds is None else hardware.mig_seconds
    work = mig_manager.desired(node, hardware, policy, elapsed=elapsed, seconds=seconds)
    # Work finished in this step is visible at once: the device plugin starts before the state label is written.
    states = work.states
    config = (node["metadata"].get("labels") or {}).get(CONFIG_LABEL, "")
    wanted = (
        kubelet.desired(node, hardware, faults)
        | virtual_functions.desired(node, hardware, functions)
        | discovery.desired(hardware, policy, states, pending=work.pending, config=config)
        | device_plugin.desired(node, hardware, policy, states, pending=work.pending, faults=faults)
        | work.desired
    )
    return NodePlan(wanted, work.pending, work.wait, work.note)


def prune(node: Object) -> Object:
    """Keep only the fields that the roles read, because there may be a thousand nodes."""
    meta, status = node["metadata"], node.get("status") or {}
    return {
        "metadata": {k: meta[k] for k in ("name", "uid", "resourceVersion", "labels", "annotations") if k in meta},
        "status": {k: status[k] for k in ("capacity", "allocatable", "conditions") if k in status},
    }


class NodeController:
    """Reconciles all simulated nodes.

    Args:
        kube: connected client.
        policy: returns the current policy, or None without the GPU operator.
        functions: returns a node's virtual functions by resource, as configured by the SR-IOV operator.
        on_node: called with the current state of each node, or with None when the node is gone.
        mig_seconds: how long the MIG manager takes unless the hardware specifies a duration.
        workers: number of nodes written concurrently.
    """

    def __init__(
        self,
        kube: KubeClient,
        *,
        policy: Callable[[], Policy | None],
        functions: Callable[[str], Mapping[str, int]],
        on_node: Callable[[str, Object | None], None],
        mig_seconds: float,
        workers: int = 16,
    ) -> None:
        self._kube = kube
        self._policy = policy
        self._functions = functions
        self._on_node = on_node
        self._mig_seconds = mig_seconds
        self._queue = WorkQueue(self._reconcile, workers=workers, name="nodes")
        self.nodes = Informer(kube, "v1", "Node", on_change=self._changed, prune=prune)
        self._pending_since: dict[str, float] = {}
        self._problems: dict[str, str] = {}
        self._repeats: dict[str, tuple[str, int, float]] = {}

    async def run(self) -> None:
        """Run until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.nodes.run())
            group.create_task(self._queue.run())

    def all_changed(self) -> None:
        """Reconcile every node after a change of the policy or the layouts."""
        for name in self.nodes.objects:
            self._queue.add(name)

    def changed(self, name: str) -> None:
        """Reconcile one node after a change of its virtual functions."""
        self._queue.add(name)

    def is_broken(self, name: str) -> bool:
        """Return whether a node's kubelet is made not ready, so that nothing reports the status of its pods."""
        node = self.nodes.objects.get(name)
        return node is not None and faults_of(node).not_ready

    def _changed(self, before: Object | None, after: Object | None) -> None:
        name = key_of(newer_of(before, after))
        self._on_node(name, after)
        if after is None:
            self._queue.forget(name)
            self._pending_since.pop(name, None)
            self._problems.pop(name, None)
            self._repeats.pop(name, None)
            return
        self._queue.add(name)

    async def _reconcile(self, name: str) -> float | None:
        node = self.nodes.objects.get(name)
        if node is None:
            return None
        try:
            hardware = hardware_of(node)
        except HardwareError as error:
            self._log_problem(name, str(error))
            return None
        self._problems.pop(name, None)
        if hardware is None:
            return None
        clock = asyncio.get_running_loop().time()
        since = self._pending_since.get(name)
        elapsed = None if since is None else clock - since
        functions = self._functions(name)
        node_plan = plan(
            node, hardware, self._policy(), elapsed=elapsed, mig_seconds=self._mig_seconds, functions=functions
        )
        if node_plan.pending:
            self._pending_since.setdefault(name, clock)
        else:
            self._pending_since.pop(name, None)
        if node_plan.note:
            log.info("%s: %s", name, node_plan.note)
        pause = await self._write(name, node, node_plan)
        return min((wait for wait in (node_plan.wait, pause) if wait is not None), default=None)

    async def _write(self, name: str, node: Object, node_plan: NodePlan) -> float | None:
        now = format_time(datetime.now(UTC))
        metadata, status = metadata_patch(node, node_plan.desired), status_patch(node, node_plan.desired, now=now)
        if metadata is None and status is None:
            return None
        quantities = {k: v for k, v in (status or {}).get("status", {}).items() if k != "conditions"}
        if pause := self._pause(name, json.dumps([metadata, quantities, node_plan.desired.conditions], default=str)):
            return pause
        try:
            # Others wait for the state label: clients are stopped after the label becomes pending and are back before
            # it becomes success.
            if node_plan.pending:
                await self._patch_metadata(name, metadata)
                await self._patch_status(name, status)
            else:
                await self._patch_status(name, status)
                await self._patch_metadata(name, metadata)
        except ApiError as error:
            if error.not_found:
                return None
            raise
        return None

    async def _patch_metadata(self, name: str, patch: Object | None) -> None:
        if patch is not None:
            self.nodes.remember(await self._kube.patch("v1", "Node", name, patch, field_manager=FIELD_MANAGER))

    async def _patch_status(self, name: str, patch: Object | None) -> None:
        if patch is not None:
            self.nodes.remember(
                await self._kube.patch(
                    "v1",
                    "Node",
                    name,
                    patch,
                    content_type=STRATEGIC,
                    subresource="status",
                    field_manager=FIELD_MANAGER,
                )
            )

    def _pause(self, name: str, patch: str) -> float | None:
        """Return the back-off in seconds for a patch that is repeated because another writer reverts it."""
        clock = asyncio.get_running_loop().time()
        last, count, not_before = self._repeats.get(name, ("", 0, 0.0))
        if patch != last or clock - not_before > _QUIET:
            count, not_before = 0, 0.0
        if clock < not_before:
            return not_before - clock
        self._repeats[name] = (patch, count + 1, clock + min(0.05 * 2**count, _LONGEST_PAUSE))
        return None

    def _log_problem(self, name: str, problem: str) -> None:
        if self._problems.get(name) != problem:
            self._problems[name] = problem
            log.warning("%s: annotation rehearsal.inferstack.dev/hardware: %s", name, problem)
