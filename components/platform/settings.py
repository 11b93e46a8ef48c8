"""All settings of a stack, read and checked as a whole before anything is registered."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from components.addon.catalogue import AddonName
from components.addon.settings import AddonSettings, Mode
from components.autoscaling import builders as autoscaling_builders
from components.autoscaling.checks import check as check_autoscaling
from components.autoscaling.settings import AutoscalingSettings
from components.cluster.access import Access
from components.cluster.nodes import make_nodes
from components.cluster.settings import ClusterSettings, Place
from components.gpu import builders as gpu_builders
from components.gpu.checks import check_gpu, settle
from components.gpu.fleet import gpu_groups
from components.gpu.layouts import check_fleet, make_layouts
from components.gpu.settings import GpuSettings
from components.inference.jobs import make_jobs
from components.inference.settings import InferenceSettings
from components.kernel.checks import check_tuning
from components.kernel.settings import KernelSettings
from components.mesh import builders as mesh_builders
from components.mesh.checks import check_mesh
from components.mesh.settings import MeshSettings
from components.monitoring import builders as monitoring_builders
from components.monitoring.settings import MonitoringSettings
from components.network import builders as network_builders
from components.network.checks import check_network
from components.network.fleet import machines_of
from components.network.jobs import check_attachments, fill_levels
from components.network.settings import NetworkSettings
from components.security import builders as security_builders
from components.security.checks import check_security
from components.security.settings import SecuritySettings
from components.settings import PROJECT, find_encrypted, load_role, refuse_encrypted
from components.storage import builders as storage_builders
from components.storage.checks import check_storage
from components.storage.settings import StorageSettings
from components.tenancy.settings import TenancySettings
from components.wasm.checks import check_wasm
from components.wasm.settings import WasmSettings
from inferstack.errors import UserError, hint

if TYPE_CHECKING:
    from components.addon.plan import Addons

ROLES = (
    "cluster",
    "addon",
    "monitoring",
    "security",
    "kernel",
    "wasm",
    "gpu",
    "network",
    "storage",
    "mesh",
    "tenancy",
    "autoscaling",
    "inference",
)
"""The roles with settings, in the order in which they come up."""


@dataclass(frozen=True)
class PlatformSettings:
    """What a stack says, over the defaults."""

    place: Place
    today: datetime.date
    """When it was read (UTC); leave from rules ends by it."""
    cluster: ClusterSettings
    addon: AddonSettings
    monitoring: MonitoringSettings
    security: SecuritySettings
    kernel: KernelSettings
    wasm: WasmSettings
    gpu: GpuSettings
    layouts: Mapping[str, Any]
    """Content of the MIG manager's ``config.yaml``."""
    network: NetworkSettings
    storage: StorageSettings
    mesh: MeshSettings
    tenancy: TenancySettings
    autoscaling: AutoscalingSettings
    inference: InferenceSettings

    @classmethod
    def load(cls, config: Mapping[str, Any]) -> PlatformSettings:
        """Check the project's configuration.

        Args:
            config: values by key without the project's name: ``place`` and one mapping for each role.

        Raises:
            UserError: naming each wrong key of the first role that has any, by its full path.
        """
        keys = ("place", *ROLES)
        for key in config:
            if key not in keys:
                meant = hint(key, keys, prefix=f"{PROJECT}:", otherwise="known are")
                raise UserError(f"{PROJECT}:{key}: unknown key; {meant}")
        refuse_encrypted(
            encrypted for key, value in config.items() for encrypted in find_encrypted(value, f"{PROJECT}:{key}")
        )
        place = _place(config.get("place"))
        cluster = load_role("cluster", ClusterSettings, config.get("cluster"))
        # First: what follows asks the cluster for its machines.
        today = datetime.datetime.now(datetime.UTC).date()
        cluster.check_place(place, today)
        gpu = settle(load_role("gpu", GpuSettings, config.get("gpu")), gpu_groups(cluster))
        network = load_role("network", NetworkSettings, config.get("network"))
        loaded = cls(
            place=place,
            today=today,
            cluster=cluster,
            addon=load_role("addon", AddonSettings, config.get("addon")),
            monitoring=load_role("monitoring", MonitoringSettings, config.get("monitoring")),
            security=load_role("security", SecuritySettings, config.get("security")),
            kernel=load_role("kernel", KernelSettings, config.get("kernel")),
            wasm=load_role("wasm", WasmSettings, config.get("wasm")),
            gpu=gpu,
            layouts=make_layouts(gpu),
            network=network,
            storage=load_role("storage", StorageSettings, config.get("storage")),
            mesh=load_role("mesh", MeshSettings, config.get("mesh")),
            tenancy=load_role("tenancy", TenancySettings, config.get("tenancy")),
            autoscaling=load_role("autoscaling", AutoscalingSettings, config.get("autoscaling")),
            inference=fill_levels(
                load_role("inference", InferenceSettings, config.get("inference")), network.topology.levels
            ),
        )
        loaded.check()
        return loaded

    def check(self) -> None:
        """Check what several roles say together.

        Raises:
            UserError: a setting is invalid; the message names its key.
        """
        self.addon.check_place(self.place)
        check_fleet(self.layouts, self.cluster, self.gpu.mig.strategy)
        kubernetes, kubernetes_key = self.cluster.kubernetes(self.place)
        check_gpu(
            self.gpu,
            gpu_groups(self.cluster),
            kubernetes=kubernetes,
            kubernetes_key=kubernetes_key,
            operator_is_ours=self.addon.mode_of("gpu-operator") is not Mode.PRESENT,
        )
        check_security(
            self.security,
            self.tenancy.tenants,
            mesh_encrypts=self.mesh.enabled and self.mesh.mtls.mode.value != "DISABLE",
            mesh_strict=self.mesh.strict,
            today=self.today,
        )
        check_tuning(self.kernel, oldest=self.security.nodes.kernel)
        check_wasm(self.wasm, self.tenancy.tenants)
        check_mesh(self.mesh, self.tenancy.tenants, self.jobs)
        check_network(self.network, self.tenancy.tenants, machines_of(make_nodes(self.cluster)))
        jobs = make_jobs(self.inference, self.tenancy.tenants)
        check_storage(
            self.storage,
            tenants=self.tenancy.tenants,
            jobs=jobs,
            fleet=self.cluster.fleet,
        )
        check_autoscaling(
            self.autoscaling,
            jobs=jobs,
            tenants=self.tenancy.tenants,
            prometheus_url=self.monitoring.prometheus_url,
            chart_values=self.addon.values,
        )

    @property
    def jobs(self) -> list[tuple[str, str]]:
        """Namespace and name of each of the stack's jobs, checked."""
        manifests = make_jobs(self.inference, self.tenancy.tenants)
        check_attachments(self.network.sriov, manifests)
        return [(job["metadata"]["namespace"], job["metadata"]["name"]) for job in manifests]

    def charts(self) -> dict[AddonName, dict[str, Any]]:
        """Return the add-ons that the roles want, with their chart values."""
        monitored = self.monitoring.enabled
        return {
            **monitoring_builders.make_charts(self.monitoring),
            **security_builders.make_charts(self.security, monitored=monitored),
            **gpu_builders.make_charts(self.gpu, monitored=monitored),
            **network_builders.make_charts(self.network, monitored=monitored),
            **storage_builders.make_charts(self.storage, monitored=monitored),
            **mesh_builders.make_charts(self.mesh, monitored=monitored),
            **autoscaling_builders.make_charts(
                self.autoscaling, monitored=monitored, prometheus_url=self.monitoring.prometheus_url
            ),
        }

    def addons(self, access: Access | None) -> Addons:
        """Return the add-ons with their modes settled and their values checked.

        Args:
            access: to a cluster that is there, to see what others have installed; None where it is yet to be made.

        Raises:
            UserError: a chart cannot be had, does not know a value, or the cluster does not answer.
        """
        # The Kubernetes client and the toolchain are slow to import, and reading settings does without them.
        from components.addon import detect  # noqa: PLC0415  # see above
        from components.addon.plan import make_addons  # noqa: PLC0415  # see above

        charts = self.charts()
        unsettled = [name for name in charts if self.addon.mode_of(name) is Mode.AUTO]
        must_detect = self.place is Place.EXISTING and unsettled
        present = detect.find_present(access, unsettled) if access and must_detect else frozenset[AddonName]()
        return make_addons(self.addon, self.place, charts, present)


def _place(value: object) -> Place:
    offered = ", ".join(Place)
    if value is None:
        raise UserError(f"{PROJECT}:place: is required; this release offers {offered}.")
    try:
        return Place(str(value))
    except ValueError:
        raise UserError(f'{PROJECT}:place: this release does not offer "{value}"; it offers {offered}.') from None
