"""Settings of the tenancy role."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StrictInt, field_validator

from components.quantities import Quantity
from components.settings import DnsLabel, RoleSettings
from inferstack.mig import catalogue

Count = Annotated[StrictInt, Field(ge=0)]


class Container(RoleSettings):
    """What a container gets that asks for nothing (LimitRange)."""

    cpu_request: Quantity = "500m"
    """CPU it is scheduled with."""
    memory_request: Quantity = "1Gi"
    """Memory it is scheduled with."""
    cpu_limit: Quantity = "4"
    """CPU it may use at most. Several times the request: loading a model is work for the CPU."""
    memory_limit: Quantity = "16Gi"
    """Memory at which it is killed."""


class Tenant(RoleSettings):
    """One team."""

    gpus: Count = 0
    """Whole GPUs that its pods may ask for together (nvidia.com/gpu)."""
    mig: dict[str, Count] = Field(default_factory=dict)
    """MIG slices that its pods may ask for together, by profile (1g.5gb: 14). A profile not named may not be used."""
    cpu: Quantity = "256"
    """CPU that its pods may ask for together."""
    memory: Quantity = "1Ti"
    """Memory that its pods may ask for together."""
    pods: Count = 200
    """Pods at once, done ones excluded."""
    jobs: Count = 50
    """InferenceJobs at once, counted by their Deployments."""
    groups: tuple[str, ...] = ()
    """Groups of users (as the API server authenticates them) that may run InferenceJobs and read everything else."""
    pod_security: Literal["restricted", "baseline", "privileged"] = "restricted"
    """Pod Security Standard that is enforced. Serving needs no privilege."""
    container: Container = Container()
    """What a container gets that asks for nothing."""

    @field_validator("mig")
    @classmethod
    def _known_profiles(cls, mig: dict[str, int]) -> dict[str, int]:
        for profile in mig:
            if profile not in catalogue.profile_names():
                names = ", ".join(catalogue.profile_names())
                raise ValueError(f"no GPU has the MIG profile {profile}; there are {names}")
        return mig


class TenancySettings(RoleSettings):
    """See defaults.yaml."""

    tenants: dict[DnsLabel, Tenant]
    # More than a thousand million is reserved for the system.
    priority_classes: dict[DnsLabel, Annotated[StrictInt, Field(ge=0, le=1_000_000_000)]]
    dns_pods: Annotated[dict[str, str], Field(min_length=1)]
