"""Settings of the cluster role."""

from __future__ import annotations

import enum
from typing import Annotated

from pydantic import Field, StrictInt, field_validator

from components.settings import DnsLabel, RoleSettings
from inferstack.mig import catalogue


class Place(enum.StrEnum):
    """Where the program runs."""

    LOCAL = "local"
    """The rehearsal on this machine: a real control plane, simulated nodes."""
    EXISTING = "existing"
    """A cluster that is there: any kubeconfig."""


class Nic(RoleSettings):
    """A kind of network device that a node offers to pods."""

    resource: Annotated[str, Field(pattern=r"^[a-z0-9.-]+/[A-Za-z0-9_.-]+$")]
    """Name of the extended resource, prefix included, such as openshift.io/mlnx_rdma."""
    vfs: Annotated[StrictInt, Field(ge=1, le=256)]
    """Number of virtual functions that a node offers."""


class NodeGroup(RoleSettings):
    """Simulated nodes of one kind."""

    instance_type: str
    """Type of the machine; GPUs, CPU and memory follow from it."""
    count: Annotated[StrictInt, Field(ge=0, le=5000)] = 1
    """Number of nodes. kwok holds 1,000 of them with ease on a laptop."""
    mig_layout: str | None = None
    """Name of the MIG layout that the nodes ask for (label nvidia.com/mig.config). Without one the GPUs stay whole."""
    nics: tuple[Nic, ...] = ()
    """SR-IOV devices of each node. None by default: a policy of the network operator makes them."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Further labels of the nodes."""

    @field_validator("instance_type")
    @classmethod
    def _known(cls, name: str) -> str:
        catalogue.instance_type(name)
        return name


class ClusterSettings(RoleSettings):
    """See defaults.yaml."""

    kubeconfig: str | None
    context: str | None
    fleet: dict[DnsLabel, NodeGroup]
    zones: Annotated[tuple[DnsLabel, ...], Field(min_length=1)]
