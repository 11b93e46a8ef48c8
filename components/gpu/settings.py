"""Settings of the gpu role; what several values say together is checked in checks.py."""

from __future__ import annotations

import enum
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StrictBool, StrictInt, StringConstraints, field_validator

from components.gpu.counters import Group
from components.settings import RoleSettings

ConfigName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]+([-_.]+[A-Za-z0-9]+)*$", max_length=63)]
"""Key of a ConfigMap and value of a node's label at once."""
DriverVersion = Annotated[str, StringConstraints(pattern=r"^\d{3}(\.\d{2,3}(\.\d{2})?)?$")]
Service = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9@_.:-]+\.service$")]
Share = Annotated[str, StringConstraints(pattern=r"^(\d+|\d{1,2}%|100%)$")]
RuntimeVersion = Annotated[str, StringConstraints(pattern=r"^[a-z-]+://\d+\.\d+(\.\d+)?([-+][0-9A-Za-z.-]+)?$")]


class Allocation(enum.StrEnum):
    """How pods get GPUs."""

    DEVICE_PLUGIN = "devicePlugin"
    DRA = "dra"


class Strategy(enum.StrEnum):
    """How MIG slices are named to Kubernetes."""

    NONE = "none"
    SINGLE = "single"
    MIXED = "mixed"


class Modules(enum.StrEnum):
    """Which kernel modules the driver brings."""

    AUTO = "auto"
    OPEN = "open"
    PROPRIETARY = "proprietary"


def _not_dra(allocation: Allocation) -> Allocation:
    if allocation is Allocation.DRA:
        raise ValueError(
            "dra cannot be offered: with it the GPU operator runs neither a MIG manager, which cuts GPUs by layouts, "
            "nor the device plugin, whose nvidia.com/* resources jobs and quotas ask for; use devicePlugin"
        )
    return allocation


class Mig(RoleSettings):
    """How GPUs are cut."""

    strategy: Strategy
    layouts: dict[str, list[dict[str, Any]]]
    reboot: StrictBool
    host_services: tuple[Service, ...]


class Part(RoleSettings):
    """A part of the GPU operator that can be left out."""

    enabled: StrictBool


class Provided(RoleSettings):
    """A part that the image of the nodes may bring."""

    enabled: StrictBool | None

    @property
    def installed(self) -> bool:
        """Whether the operator installs it."""
        return self.enabled is not False


class Rdma(RoleSettings):
    """GPUDirect RDMA."""

    enabled: StrictBool
    use_host_mofed: StrictBool


class Upgrade(RoleSettings):
    """How a new driver comes onto nodes that work."""

    auto: StrictBool
    max_parallel_nodes: Annotated[StrictInt, Field(ge=0, le=1000)]
    max_unavailable: Share
    eviction_seconds: Annotated[StrictInt, Field(ge=0, le=3600)]
    drain: StrictBool


class Driver(Provided):
    """The driver."""

    version: DriverVersion | None
    kernel_module_type: Modules
    rdma: Rdma
    upgrade: Upgrade


class Cdi(RoleSettings):
    """How containers get their devices."""

    enabled: StrictBool
    nri: StrictBool


class TimeSlicingConfiguration(RoleSettings):
    """How often each device is offered."""

    resources: Annotated[dict[str, Annotated[StrictInt, Field(ge=2)]], Field(min_length=1)]
    """How many pods share a device, by resource: nvidia.com/gpu for whole GPUs (and, with strategy single, for slices),
    nvidia.com/mig-<profile> for slices with strategy mixed."""
    rename_by_default: StrictBool = False
    """Offer shared devices as <resource>.shared. Quotas and InferenceJobs know the plain names only."""
    fail_requests_greater_than_one: StrictBool = True
    """Have the kubelet refuse pods that ask for two shares, since two give no more time than one."""


class TimeSlicing(RoleSettings):
    """Sharing a GPU by taking turns."""

    default: ConfigName | None
    configs: dict[ConfigName, TimeSlicingConfiguration]


class Exporter(RoleSettings):
    """GPU metrics."""

    enabled: StrictBool
    interval_seconds: Annotated[StrictInt, Field(ge=1, le=60)]
    groups: Annotated[tuple[Group, ...], Field(min_length=1)]

    @field_validator("groups")
    @classmethod
    def _unique(cls, groups: tuple[Group, ...]) -> tuple[Group, ...]:
        for group in groups:
            if groups.count(group) > 1:
                raise ValueError(f"{group} is there twice; remove one")
        return groups


class Toleration(RoleSettings):
    """A taint that the operator's pods live with."""

    key: str
    """Key of the taint."""
    operator: Literal["Exists", "Equal"] = "Exists"
    """Whether its value counts."""
    value: str | None = None
    """Its value, with Equal."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """Its effect. Without one: any."""


class DaemonSets(RoleSettings):
    """The operator's pods on GPU nodes."""

    priority_class_name: str
    tolerations: tuple[Toleration, ...]


class Validator(RoleSettings):
    """The check of each node before others use it."""

    workload: StrictBool


class Preflight(RoleSettings):
    """What must fit together."""

    container_runtime: RuntimeVersion | None
    allow_unknown: StrictBool


class GpuSettings(RoleSettings):
    """See defaults.yaml."""

    allocation: Annotated[Allocation, AfterValidator(_not_dra)]
    mig: Mig
    driver: Driver
    toolkit: Provided
    cdi: Cdi
    time_slicing: TimeSlicing
    dcgm_exporter: Exporter
    daemonsets: DaemonSets
    validator: Validator
    nfd: Part
    preflight: Preflight
