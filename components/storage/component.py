"""Fluid and the caches as components."""

from __future__ import annotations

import pulumi

from components.addon.component import Addon, namespaces
from components.addon.plan import Addons
from components.objects import make_namespace
from components.resource import KubeObject
from components.storage.builders import make_dataset, make_identity, make_load, make_reference, make_runtime
from components.storage.settings import StorageSettings


class Storage(pulumi.ComponentResource):
    """Fluid: the CRDs of caches and their controllers."""

    ready: list[pulumi.Resource]
    """Resources that dependents of this role wait for; empty if it is disabled."""

    def __init__(self, name: str, settings: StorageSettings, *, addons: Addons, opts: pulumi.ResourceOptions) -> None:
        """Register the add-on."""
        super().__init__("inferstack:storage:Storage", name, {}, pulumi.ResourceOptions(parent=opts.parent))
        child = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(parent=self))
        self.ready = []
        if settings.enabled:
            spaces = namespaces(addons, ("fluid",), child)
            within = pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=spaces))
            installed = Addon("fluid", addons, within)
            self.ready += [*spaces, *installed.ready]
        self.register_outputs({"enabled": settings.enabled})


class Caches(pulumi.ComponentResource):
    """The datasets: each with its runtime, its preload, and a referring Dataset for each tenant."""

    datasets: pulumi.Output[dict[str, list[str]]]
    """Tenants that may mount each dataset; the PersistentVolumeClaim in their namespaces has the dataset's name."""
    ready: list[pulumi.Resource]
    """Resources that jobs with a cache depend on."""

    def __init__(self, name: str, settings: StorageSettings, opts: pulumi.ResourceOptions) -> None:
        """Register the caches' namespace, then the datasets."""
        super().__init__("inferstack:storage:Caches", name, {}, pulumi.ResourceOptions(parent=opts.parent))
        child = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(parent=self))
        self.ready = []
        if settings.enabled and settings.datasets:
            home = self._home(settings, child)
            for dataset in settings.datasets:
                self._dataset(dataset, settings, _after(child, *home))
        self.datasets = pulumi.Output.from_input(
            {key: list(dataset.tenants) for key, dataset in settings.datasets.items()}
        )
        self.register_outputs({"datasets": self.datasets})

    def _home(self, settings: StorageSettings, child: pulumi.ResourceOptions) -> list[pulumi.Resource]:
        space = KubeObject(settings.namespace, make_namespace(settings.namespace, privileged=True), child)
        home: list[pulumi.Resource] = [space]
        if settings.role_arn:
            home.append(KubeObject("caches-identity", make_identity(settings), _after(child, space), patch=True))
        return home

    def _dataset(self, name: str, settings: StorageSettings, child: pulumi.ResourceOptions) -> None:
        """Register one dataset. A destroy deletes the dataset after its references, load and runtime."""
        dataset, runtime = settings.datasets[name], settings.runtime_of(name)
        data = KubeObject(f"dataset-{name}", make_dataset(name, dataset, runtime, settings.namespace), child)
        bound = KubeObject(f"runtime-{name}", make_runtime(name, runtime, settings.namespace), _after(child, data))
        serves = _after(child, data, bound)
        if dataset.load:
            load = make_load(name, dataset, dataset.load, settings.namespace)
            self.ready.append(KubeObject(f"load-{load['metadata']['name']}", load, serves))
        for tenant in dataset.tenants:
            stands = make_reference(name, tenant, settings)
            self.ready.append(KubeObject(f"dataset-{tenant}-{name}", stands, serves))


def _after(opts: pulumi.ResourceOptions, *before: pulumi.Resource) -> pulumi.ResourceOptions:
    return pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=list(before)))
