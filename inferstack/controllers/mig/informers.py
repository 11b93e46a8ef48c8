"""What the controller of MigRollouts observes: the cluster during a rollout, and the GPU operator's MIG settings."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final, cast

from inferstack.apimachinery.objects import Object
from inferstack.controllers.mig.cluster_state import (
    ClusterState,
    Pod,
    budget_of,
    node_of,
    pod_of,
    prune_node,
    prune_pod,
)
from inferstack.controllers.mig.devices import MigSettings
from inferstack.k8s import ApiError, KubeClient
from inferstack.k8s.informer import Informer
from inferstack.mig.errors import ConfigError
from inferstack.mig.gpu_operator import API_VERSION, DEFAULT_LAYOUTS, NAMESPACE, POLICY
from inferstack.mig.layout import STRATEGIES, Layout, Strategy
from inferstack.mig.mig_parted import dump_config, make_mig_parted_config, parse_config

_POLICY: Final = (API_VERSION, "ClusterPolicy", POLICY)
_KEY: Final = "config.yaml"
_SETTINGS_SECONDS = 5.0
"""How long settings are used before they are read again."""


class ClusterInformers:
    """Local copies of nodes, pods and PodDisruptionBudgets.

    Args:
        kube: connected client.
        on_change: called after each change.
    """

    def __init__(self, kube: KubeClient, on_change: Callable[[], None]) -> None:
        def changed(_before: Object | None, _after: Object | None) -> None:
            on_change()

        self.nodes = Informer(kube, "v1", "Node", on_change=changed, prune=prune_node)
        self._pods = Informer(kube, "v1", "Pod", on_change=changed, prune=prune_pod)
        self._budgets = Informer(kube, "policy/v1", "PodDisruptionBudget", on_change=changed)
        self._settings = SettingsReader(kube)

    @property
    def synced(self) -> bool:
        """Whether the first lists are in."""
        return all(informer.synced.is_set() for informer in (self.nodes, self._pods, self._budgets))

    async def run(self) -> None:
        """Watch until cancelled."""
        async with asyncio.TaskGroup() as group:
            for informer in (self.nodes, self._pods, self._budgets):
                group.create_task(informer.run())

    async def state(self) -> ClusterState:
        """Return the cluster state by the local copies."""
        pods = [pod for obj in self._pods.objects.values() if (pod := obj.get("pod")) is not None]
        settings = await self._settings.read()
        return _state(self.nodes.objects.values(), pods, self._budgets.objects.values(), settings)


async def snapshot(kube: KubeClient) -> ClusterState:
    """Return the cluster state, read once from the API server."""
    nodes, pods, budgets = await asyncio.gather(
        kube.list("v1", "Node"), kube.list("v1", "Pod"), kube.list("policy/v1", "PodDisruptionBudget")
    )
    with_gpus = [pod for obj in pods["items"] if (pod := pod_of(obj)) is not None]
    return _state(nodes["items"], with_gpus, budgets["items"], await SettingsReader(kube).read())


def _state(
    nodes: Iterable[Object], pods: Iterable[Pod], budgets: Iterable[Object], settings: MigSettings | str
) -> ClusterState:
    by_node: dict[str, list[Pod]] = {}
    for pod in sorted(pods, key=str):
        by_node.setdefault(pod.node, []).append(pod)
    return ClusterState(
        nodes={obj["metadata"]["name"]: node_of(obj) for obj in nodes},
        pods=by_node,
        budgets=[budget_of(obj) for obj in budgets],
        settings=settings if isinstance(settings, MigSettings) else None,
        settings_problem="" if isinstance(settings, MigSettings) else settings,
    )


class SettingsReader:
    """Reads the ClusterPolicy and the MIG manager's layouts, and parses the layouts only when they changed.

    Args:
        kube: connected client.
    """

    def __init__(self, kube: KubeClient) -> None:
        self._kube = kube
        self._settings_or_problem: MigSettings | str = "the settings of the GPU operator have not been read yet"
        self._read_at = float("-inf")
        self._parsed: tuple[str, dict[str, Layout]] | None = None

    async def read(self) -> MigSettings | str:
        """Return the settings, or why there are none."""
        now = asyncio.get_running_loop().time()
        if now - self._read_at >= (_SETTINGS_SECONDS if isinstance(self._settings_or_problem, MigSettings) else 1.0):
            self._settings_or_problem = await self._read()
            self._read_at = now
        return self._settings_or_problem

    async def _read(self) -> MigSettings | str:
        policy = await self._kube.find(*_POLICY)
        if policy is None:
            return "the cluster has no ClusterPolicy: the GPU operator is not installed"
        spec = policy.get("spec") or {}
        manager = spec.get("migManager") or {}
        if manager.get("enabled", True) is False:
            return "the ClusterPolicy disables the MIG manager"
        config = manager.get("config") or {}
        layouts = await self._layouts(config.get("name") or "")
        if isinstance(layouts, str):
            return layouts
        strategy = (spec.get("mig") or {}).get("strategy") or "single"
        if strategy not in STRATEGIES:
            return f"the ClusterPolicy's mig.strategy {strategy!r} is unknown"
        return MigSettings(layouts, cast(Strategy, strategy), config.get("default", "all-disabled"))

    async def _layouts(self, named: str) -> dict[str, Layout] | str:
        name = named or DEFAULT_LAYOUTS
        try:
            config_map = await self._kube.find("v1", "ConfigMap", name, NAMESPACE)
        except ApiError as error:
            if error.code != 403:
                raise
            return f"the operator may not read ConfigMap {NAMESPACE}/{name}: add it to the operator's ClusterRole"
        if config_map is None:
            if named:
                return f"ConfigMap {NAMESPACE}/{name} does not exist"
            text: str | None = dump_config(make_mig_parted_config())
        else:
            text = (config_map.get("data") or {}).get(_KEY)
        if text is None:
            return f"ConfigMap {NAMESPACE}/{name} has no key {_KEY}"
        if self._parsed is None or self._parsed[0] != text:
            try:
                self._parsed = (text, parse_config(text))
            except ConfigError as error:
                return f"ConfigMap {NAMESPACE}/{name}: {error}"
        return self._parsed[1]
