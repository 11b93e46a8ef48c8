"""The SR-IOV network operator and its daemons: applies policies to the nodes, in order of the drains.

`policies` computes what to configure and `drain` the next step; this module reads and writes objects. All state is on
the objects, so that a restarted agent continues.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping

from inferstack.apimachinery.labels import RESOURCE_PREFIX
from inferstack.apimachinery.objects import Object
from inferstack.k8s import ApiError, KubeClient
from inferstack.k8s.informer import Informer, key_of, newer_of
from inferstack.k8s.workqueue import WorkQueue
from rehearsal.hardware import HardwareError, hardware_of
from rehearsal.simulators import FIELD_MANAGER
from rehearsal.simulators.sriov import drain as sriov_drain
from rehearsal.simulators.sriov import policies as sriov_policies
from rehearsal.simulators.sriov.drain import CURRENT_STATE, DESIRED_STATE, IDLE, NODE_STATE, Action, StepContext
from rehearsal.simulators.sriov.eviction import evict, pods_to_evict
from rehearsal.simulators.sriov.policies import API_VERSION, NAMESPACE

STATE = "SriovNetworkNodeState"
CONFIG = "default"
FINALIZER = "operatorconfig.finalizers.sriovnetwork.openshift.io"
OFFERED = "rehearsal.inferstack.dev/resources"
"""Annotation of a SriovNetworkNodeState: JSON of the resources that the device plugin advertises."""
PLUGIN_LABEL = "sriovnetwork.openshift.io/device-plugin"
_DEFAULT_NODE_SELECTOR = {"node-role.kubernetes.io/worker": "", "kubernetes.io/os": "linux"}
"""Node selector of the daemon if the configuration has none."""
_CONFIG_KEY = "config"

log = logging.getLogger("sriov-operator")


class SriovController:
    """Simulates the operator for all nodes with ports for virtual functions.

    Args:
        kube: connected client.
        on_change: called with the name of a node when its resources change.
        seconds: duration of a node's configuration, without its drain.
    """

    def __init__(self, kube: KubeClient, *, on_change: Callable[[str], None], seconds: float = 0.5) -> None:
        self._kube, self._on_change, self._seconds = kube, on_change, seconds
        # One worker, because counting unavailable nodes and adding one must be atomic.
        self._queue = WorkQueue(self._reconcile, workers=1, name="sriov-operator")
        self._ready_since: dict[str, float] = {}
        self._nodes = Informer(kube, "v1", "Node", on_change=self._node_changed, prune=_prune_node)
        self._configs = self._of("SriovOperatorConfig", self._all_changed)
        self._pools = self._of("SriovNetworkPoolConfig", self._all_changed)
        self._policies = self._of("SriovNetworkNodePolicy", self._all_changed)
        self._states = self._of(STATE, self._state_changed)
        self.informers: Mapping[str, Informer] = {
            "nodes for SR-IOV": self._nodes,
            "SR-IOV configurations": self._configs,
            "SR-IOV pools": self._pools,
            "SR-IOV policies": self._policies,
            "SR-IOV states": self._states,
        }

    def _of(self, kind: str, on_change: Callable[[Object | None, Object | None], None]) -> Informer:
        # The operator's chart installs the kinds. The operator ignores objects in other namespaces.
        return Informer(self._kube, API_VERSION, kind, namespace=NAMESPACE, on_change=on_change, optional=True)

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            for informer in self.informers.values():
                group.create_task(informer.run())
            group.create_task(self._queue.run())

    def functions(self, name: str) -> Mapping[str, int]:
        """Return the virtual functions that a node's device plugin advertises, by full resource name."""
        state = self._states.objects.get(f"{NAMESPACE}/{name}")
        offered: dict[str, int] = json.loads(_annotation(state, OFFERED) or "{}") if state else {}
        return offered

    async def wait_for_states(self) -> None:
        """Wait until the advertised resources are known; before that, no resource may be removed from a node."""
        await self._states.synced.wait()

    def _node_changed(self, before: Object | None, after: Object | None) -> None:
        name = key_of(newer_of(before, after))
        if newer_of(before, after)["ports"] or f"{NAMESPACE}/{name}" in self._states.objects:
            self._queue.add(name)

    def _state_changed(self, before: Object | None, after: Object | None) -> None:
        name = newer_of(before, after)["metadata"]["name"]
        if _annotation(before, OFFERED) != _annotation(after, OFFERED):
            self._on_change(name)
        self._queue.add(name)

    def _all_changed(self, _before: Object | None, _after: Object | None) -> None:
        self._queue.add(_CONFIG_KEY)
        for node in self._nodes.objects.values():
            if node["ports"]:
                self._queue.add(key_of(node))

    def _config(self) -> Object | None:
        """Return the configuration, None if there is none or it is terminating."""
        config = self._configs.objects.get(f"{NAMESPACE}/{CONFIG}")
        return None if config is None or config["metadata"].get("deletionTimestamp") else config

    async def _reconcile(self, key: str) -> float | None:
        if not all(informer.synced.is_set() for informer in self.informers.values()):
            return 0.2
        try:
            return await (self._reconcile_config() if key == _CONFIG_KEY else self._reconcile_node(key))
        except ApiError as error:
            if error.not_found:
                return None  # deleted meanwhile; the watch reports it
            raise

    async def _reconcile_config(self) -> float | None:
        config = self._configs.objects.get(f"{NAMESPACE}/{CONFIG}")
        if config is None:
            return None
        finalizers = config["metadata"].get("finalizers") or []
        if not config["metadata"].get("deletionTimestamp"):
            if FINALIZER not in finalizers:
                await self._patch_config(config, [*finalizers, FINALIZER])
        elif self._states.objects:
            return 0.2  # the reconciliation of each node removes its state
        elif FINALIZER in finalizers:
            await self._patch_config(config, [each for each in finalizers if each != FINALIZER])
        return None

    async def _patch_config(self, config: Object, finalizers: list[str]) -> None:
        version = {key: config["metadata"][key] for key in ("uid", "resourceVersion")}
        body = {"metadata": {**version, "finalizers": finalizers}}
        patched = await self._kube.patch(
            API_VERSION, "SriovOperatorConfig", CONFIG, body, NAMESPACE, field_manager=FIELD_MANAGER
        )
        self._configs.remember(patched)

    async def _reconcile_node(self, name: str) -> float | None:
        for _ in range(20):
            node, state = self._nodes.objects.get(name), self._states.objects.get(f"{NAMESPACE}/{name}")
            config = self._config()
            if node is None or config is None or not _selected(config, node) or not node["ports"]:
                if state is not None:
                    await self._remove_state(name, node, state)
                self._ready_since.pop(name, None)
                return None
            if state is None:
                await self._create_state(config, node)
                continue
            wait = await self._advance(config, node, state)
            if wait != 0.0:
                return wait
        return 0.0

    async def _remove_state(self, name: str, node: Object | None, state: Object) -> None:
        """Delete the state of a node that the operator no longer manages, and uncordon a node in a drain."""
        if node is not None and _annotation(state, CURRENT_STATE) not in (None, IDLE) and node["cordoned"]:
            await self._patch_node(name, {"spec": {"unschedulable": None}})
        await self._kube.delete(
            API_VERSION, STATE, name, NAMESPACE, propagation="Background", uid=state["metadata"]["uid"]
        )

    async def _create_state(self, config: Object, node: Object) -> None:
        owner = {"apiVersion": API_VERSION, "kind": "SriovOperatorConfig", "name": CONFIG,
                 "uid": config["metadata"]["uid"], "controller": True, "blockOwnerDeletion": True}  # fmt: skip
        meta = {
            "name": key_of(node),
            "namespace": NAMESPACE,
            "annotations": {CURRENT_STATE: IDLE, DESIRED_STATE: IDLE},
            "ownerReferences": [owner],
        }
        new_state = {"apiVersion": API_VERSION, "kind": STATE, "metadata": meta, "spec": {}}
        try:
            self._states.remember(await self._kube.create(new_state, field_manager=FIELD_MANAGER))
        except ApiError as error:
            if error.code != 409:
                raise
            # It exists, and the watch lags behind.
            self._states.remember(await self._kube.get(API_VERSION, STATE, key_of(node), NAMESPACE))

    async def _advance(self, config: Object, node: Object, state: Object) -> float | None:
        """Action one step for a node; 0.0 where another follows at once."""
        name, labels = key_of(node), node["metadata"].get("labels") or {}
        pool = sriov_drain.pool_of(labels, pools := sriov_drain.parse_pools(self._pools.objects.values()))
        if pool is None:
            log.warning("%s: selected by more than one SriovNetworkPoolConfig", name)
            return None
        ports = sriov_policies.discover(node["ports"])
        spec: Object = {}
        if interfaces := sriov_policies.desired_interfaces(self._policies.objects.values(), labels, ports):
            spec["interfaces"] = interfaces
        if pool.rdma_mode:
            spec["system"] = {"rdmaMode": pool.rdma_mode}
        if spec != (state.get("spec") or {}):
            await self._patch_state(name, state, {"spec": {**dict.fromkeys(state.get("spec") or {}), **spec}})
            return 0.0
        enabled = "Enabled" if interfaces else "Disabled"
        if labels.get(PLUGIN_LABEL) != enabled or NODE_STATE not in node["metadata"]["annotations"]:
            answer = _annotation(node, NODE_STATE) or IDLE
            meta = {"labels": {PLUGIN_LABEL: enabled}, "annotations": {NODE_STATE: answer}}
            await self._patch_node(name, {"metadata": meta})
            return 0.0
        goal: Object = {
            "interfaces": sriov_policies.configured(ports, interfaces),
            "system": {"rdmaMode": pool.rdma_mode or "shared"},
        }
        prefix = offered_prefix(config)
        offered = json.dumps(sriov_policies.resources(prefix, goal["interfaces"], interfaces))
        status = state.get("status") or {}
        if "interfaces" not in status:
            # The daemon's first report: ports without virtual functions.
            initial = {"interfaces": ports, "system": {"rdmaMode": "shared"}, "syncStatus": sriov_drain.SUCCEEDED}
            await self._patch_status(name, state, initial)
            return 0.0
        differs = any(status.get(key) != value for key, value in goal.items())
        failure = sriov_policies.shortage(ports, interfaces)
        if not differs and failure is None and offered != (_annotation(state, OFFERED) or "{}"):
            # A resource was renamed: the device plugin restarts, the ports stay.
            await self._patch_state(name, state, {"metadata": {"annotations": {OFFERED: offered}}})
            return 0.0
        step = sriov_drain.next_step(await self._step_context(config, node, state, pool, pools, goal, failure, differs))
        return await self._execute(step, node, state, goal, offered)

    async def _step_context(
        self,
        config: Object,
        node: Object,
        state: Object,
        pool: sriov_drain.Pool,
        pools: list[sriov_drain.Pool],
        goal: Object,
        failure: str | None,
        differs: bool,
    ) -> StepContext:
        name, status = key_of(node), state.get("status") or {}
        current_state = _annotation(state, CURRENT_STATE) or IDLE
        drain_enabled = not config["spec"].get("disableDrain", False)
        ready = differs and failure is None and (current_state == sriov_drain.DRAINED or not drain_enabled)
        clock = asyncio.get_running_loop().time()
        since = self._ready_since.setdefault(name, clock) if ready else self._ready_since.pop(name, None)
        reboot = (status.get("system") or {}).get("rdmaMode", "shared") != goal["system"]["rdmaMode"]
        pods = 0
        if current_state == sriov_drain.DRAINING and node["cordoned"]:
            pods = len(await pods_to_evict(self._kube, name, offered_prefix(config), all_pods=reboot))
        return StepContext(
            differs=differs,
            reboot=reboot,
            failure=failure,
            drain_enabled=drain_enabled,
            requested_state=_annotation(node, NODE_STATE) or IDLE,
            current_state=current_state,
            sync_status=status.get("syncStatus", ""),
            last_sync_error=status.get("lastSyncError", ""),
            cordoned=node["cordoned"],
            disruption_allowed=differs and current_state == IDLE and self._disruption_allowed(pool, pools),
            pods=pods,
            elapsed=None if since is None else clock - since,
            seconds=self._seconds,
        )

    def _disruption_allowed(self, pool: sriov_drain.Pool, pools: list[sriov_drain.Pool]) -> bool:
        """Return whether one more node of a pool may become unavailable."""
        members = [
            name
            for name, node in self._nodes.objects.items()
            if sriov_drain.pool_of(node["metadata"].get("labels") or {}, pools) == pool
        ]
        states = [self._states.objects.get(f"{NAMESPACE}/{name}") for name in members]
        unavailable = sum(_annotation(state, CURRENT_STATE) not in (None, IDLE) for state in states if state)
        allowed = sriov_drain.limit(pool, len(members))
        return allowed is None or unavailable < allowed

    async def _execute(
        self, step: sriov_drain.Step, node: Object, state: Object, goal: Object, offered: str
    ) -> float | None:
        name = key_of(node)
        if step.action is Action.NOTHING:
            return None
        if step.action is Action.WAIT:
            return max(step.seconds, 0.01)
        if step.action is Action.EVICT:
            prefix = offered_prefix(self._config())
            reboot = _annotation(node, NODE_STATE) == sriov_drain.REBOOT
            await evict(self._kube, await pods_to_evict(self._kube, name, prefix, all_pods=reboot))
            return step.seconds
        if step.action is Action.SET_SYNC_STATUS:
            if step.error:
                log.warning("%s: %s", name, step.error)
            await self._patch_status(name, state, {"syncStatus": step.value, "lastSyncError": step.error or None})
        elif step.action is Action.REQUEST_STATE:
            await self._patch_node(name, {"metadata": {"annotations": {NODE_STATE: step.value}}})
            await self._patch_state(name, state, {"metadata": {"annotations": {DESIRED_STATE: step.value}}})
        elif step.action is Action.SET_CURRENT_STATE:
            await self._patch_state(name, state, {"metadata": {"annotations": {CURRENT_STATE: step.value}}})
            if step.value == IDLE:
                self._requeue_waiting()
        elif step.action is Action.CORDON:
            await self._patch_node(name, {"spec": {"unschedulable": True}})
        elif step.action is Action.UNCORDON:
            await self._patch_node(name, {"spec": {"unschedulable": None}})
        elif step.action is Action.CONFIGURE:
            log.info("%s: configured virtual functions: %s", name, offered)
            # The resources first, so that a client that sees Succeeded finds them.
            await self._patch_state(name, state, {"metadata": {"annotations": {OFFERED: offered}}})
            await self._patch_status(name, state, goal)
        return 0.0

    def _requeue_waiting(self) -> None:
        for state in self._states.objects.values():
            if _annotation(state, DESIRED_STATE) not in (None, IDLE):
                self._queue.add(state["metadata"]["name"])

    async def _patch_node(self, name: str, body: Object) -> None:
        self._nodes.remember(await self._kube.patch("v1", "Node", name, body, field_manager=FIELD_MANAGER))

    async def _patch_state(self, name: str, state: Object, body: Object) -> None:
        body = {**body, "metadata": {"uid": state["metadata"]["uid"], **body.get("metadata", {})}}
        before = _annotation(self._states.objects.get(f"{NAMESPACE}/{name}"), OFFERED)
        patched = await self._kube.patch(API_VERSION, STATE, name, body, NAMESPACE, field_manager=FIELD_MANAGER)
        self._states.remember(patched)
        # After `remember`, the watch event shows no change.
        if _annotation(patched, OFFERED) != before:
            self._on_change(name)

    async def _patch_status(self, name: str, state: Object, status: Object) -> None:
        body = {"metadata": {"uid": state["metadata"]["uid"]}, "status": status}
        self._states.remember(
            await self._kube.patch(
                API_VERSION, STATE, name, body, NAMESPACE, subresource="status", field_manager=FIELD_MANAGER
            )
        )


def offered_prefix(config: Object | None) -> str:
    """Return the resource prefix of the operator's configuration, or the chart's default."""
    return _annotation(config, RESOURCE_PREFIX) or "openshift.io"


def _selected(config: Object, node: Object) -> bool:
    labels = node["metadata"].get("labels") or {}
    selector = config["spec"].get("configDaemonNodeSelector") or _DEFAULT_NODE_SELECTOR
    return all(labels.get(key) == value for key, value in selector.items())


def _annotation(obj: Object | None, key: str) -> str | None:
    value: str | None = ((obj or {}).get("metadata", {}).get("annotations") or {}).get(key)
    return value


def _prune_node(node: Object) -> Object:
    meta = node["metadata"]
    try:
        hardware = hardware_of(node)
    except HardwareError:
        hardware = None  # the node controller logs it
    kept = {key: meta[key] for key in ("name", "uid", "resourceVersion", "labels") if key in meta}
    state = _annotation(node, NODE_STATE)
    return {
        "metadata": {**kept, "annotations": {} if state is None else {NODE_STATE: state}},
        "ports": hardware.ports if hardware else (),
        "cordoned": bool((node.get("spec") or {}).get("unschedulable")),
    }
