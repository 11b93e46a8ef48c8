"""The cluster in view while a rollout is under way, and the settings of the GPU operator."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, cast

from inferstack.controllers.mig.devices import Settings
from inferstack.controllers.mig.world import Pod, World, budget_of, node_of, pod_of, prune_node, prune_pod
from inferstack.k8s import ApiError, KubeClient
from inferstack.k8s.informer import Informer
from inferstack.mig.errors import ConfigError
from inferstack.mig.gpu_operator import DEFAULT_LAYOUTS, NAMESPACE, POLICY
from inferstack.mig.layout import STRATEGIES, Layout, Strategy
from inferstack.mig.mig_parted import dump_config, make_mig_parted_config, parse_config

Object = dict[str, Any]

_POLICY: Final = ("nvidia.com/v1", "ClusterPolicy", POLICY)
_KEY: Final = "config.yaml"
_SETTINGS_SECONDS = 5.0
"""How long the settings that were read are used."""


class Observed:
    """Nodes, pods and budgets as informers keep them.

    Args:
        kube: connected client.
        on_change: called when something changed.
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

    async def look(self) -> World:
        """Return the world as it is known now."""
        settings = await self._settings.read()
        pods: dict[str, list[Pod]] = {}
        for obj in self._pods.objects.values():
            if (pod := obj.get("pod")) is not None:
                pods.setdefault(pod.node, []).append(pod)
        return World(
            nodes={key: node_of(obj) for key, obj in self.nodes.objects.items()},
            pods={node: sorted(found, key=str) for node, found in pods.items()},
            budgets=[budget_of(obj) for obj in self._budgets.objects.values()],
            settings=settings if isinstance(settings, Settings) else None,
            problem="" if isinstance(settings, Settings) else settings,
        )


async def snapshot(kube: KubeClient) -> World:
    """Return the world as it is, read once."""
    nodes, pods, budgets = await asyncio.gather(
        kube.list("v1", "Node"), kube.list("v1", "Pod"), kube.list("policy/v1", "PodDisruptionBudget")
    )
    holding: dict[str, list[Pod]] = {}
    for obj in pods["items"]:
        if (pod := pod_of(obj)) is not None:
            holding.setdefault(pod.node, []).append(pod)
    settings = await SettingsReader(kube).read()
    return World(
        nodes={obj["metadata"]["name"]: node_of(obj) for obj in nodes["items"]},
        pods=holding,
        budgets=[budget_of(obj) for obj in budgets["items"]],
        settings=settings if isinstance(settings, Settings) else None,
        problem="" if isinstance(settings, Settings) else settings,
    )


class SettingsReader:
    """Reads the ClusterPolicy and the MIG manager's layouts; parses these only when they changed.

    Args:
        kube: connected client.
    """

    def __init__(self, kube: KubeClient) -> None:
        self._kube = kube
        self._known: Settings | str = "the settings of the GPU operator were not read yet"
        self._read_at = float("-inf")
        self._parsed: tuple[str, dict[str, Layout]] | None = None

    async def read(self) -> Settings | str:
        """Return the settings, or why there are none."""
        now = asyncio.get_running_loop().time()
        if now - self._read_at >= (_SETTINGS_SECONDS if isinstance(self._known, Settings) else 1.0):
            self._known = await self._read()
            self._read_at = now
        return self._known

    async def _read(self) -> Settings | str:
        policy = await self._kube.find(*_POLICY)
        if policy is None:
            return "there is no ClusterPolicy: the GPU operator is not installed"
        spec = policy.get("spec") or {}
        manager = spec.get("migManager") or {}
        if manager.get("enabled", True) is False:
            return "the ClusterPolicy switches the MIG manager off"
        config = manager.get("config") or {}
        layouts = await self._layouts(config.get("name") or "")
        if isinstance(layouts, str):
            return layouts
        strategy = (spec.get("mig") or {}).get("strategy") or "single"
        if strategy not in STRATEGIES:
            return f"the ClusterPolicy's mig.strategy {strategy!r} is not known"
        return Settings(layouts, cast(Strategy, strategy), config.get("default", "all-disabled"))

    async def _layouts(self, named: str) -> dict[str, Layout] | str:
        name = named or DEFAULT_LAYOUTS
        try:
            found = await self._kube.find("v1", "ConfigMap", name, NAMESPACE)
        except ApiError as error:
            if error.code != 403:
                raise
            return f"the operator may not read ConfigMap {NAMESPACE}/{name}: add its name to the operator's rights"
        if found is None:
            if named:
                return f"ConfigMap {NAMESPACE}/{name} does not exist"
            text: str | None = dump_config(make_mig_parted_config())
        else:
            text = (found.get("data") or {}).get(_KEY)
        if text is None:
            return f"ConfigMap {NAMESPACE}/{name} has no key {_KEY}"
        if self._parsed is None or self._parsed[0] != text:
            try:
                self._parsed = (text, parse_config(text))
            except ConfigError as error:
                return f"ConfigMap {NAMESPACE}/{name}: {error}"
        return self._parsed[1]
