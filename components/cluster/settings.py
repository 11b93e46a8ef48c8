"""Settings of the cluster role."""

from __future__ import annotations

import datetime
import enum
from collections.abc import Iterator
from typing import Annotated, NamedTuple

from pydantic import Field, StrictInt, field_validator

from components.cluster.aws.checks import check_aws
from components.cluster.aws.settings import AwsSettings
from components.cluster.nics import Nic
from components.settings import PROJECT, DnsLabel, RoleSettings
from inferstack.aws import catalogue as aws_catalogue
from inferstack.errors import UserError
from inferstack.mig import catalogue
from inferstack.versions import load as load_versions


class Place(enum.StrEnum):
    """Where the program runs."""

    LOCAL = "local"
    """The rehearsal on this machine: a real control plane, simulated nodes."""
    EXISTING = "existing"
    """A cluster that is there: any kubeconfig."""
    AWS = "aws"
    """EKS from nothing."""


class Cut(NamedTuple):
    """A group of nodes whose GPUs are to be cut."""

    key: str
    """Full path of the key that asks for it."""
    instance_type: str
    gpu: str | None
    """Name of the board; None where there is none that can be cut."""
    gpus: int
    layout: str


class NodeGroup(RoleSettings):
    """Simulated nodes of one kind."""

    instance_type: str
    """Type of the machine; GPUs, CPU and memory follow from it."""
    count: Annotated[StrictInt, Field(ge=0, le=5000)] = 1
    """Number of nodes. kwok holds 1,000 of them with ease on a laptop."""
    mig_layout: str | None = None
    """Name of the MIG layout that the nodes ask for (label nvidia.com/mig.config). Without one the GPUs stay whole."""
    nics: tuple[Nic, ...] = ()
    """NICs of each node. None by default: jobs of one node need none."""
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
    aws: AwsSettings

    def check_place(self, place: Place, today: datetime.date) -> None:
        """Refuse what the place cannot have, and on aws what cannot be.

        Raises:
            UserError: naming the key.
        """
        if place is not Place.AWS:
            if self.aws.given:
                raise UserError(f"{PROJECT}:cluster.aws: only the place aws makes a cluster, here it is {place}.")
            return
        for key in ("kubeconfig", "context", "fleet"):
            if getattr(self, key):
                raise UserError(f"{PROJECT}:cluster.{key}: the place aws makes its own; remove the key.")
        check_aws(self.aws, today)

    def cuts(self) -> Iterator[Cut]:
        """Yield the groups of nodes that ask for a MIG layout."""
        for name, group in self.fleet.items():
            if group.mig_layout is not None:
                instance_type = catalogue.instance_type(group.instance_type)
                key = f"{PROJECT}:cluster.fleet.{name}.migLayout"
                yield Cut(key, group.instance_type, instance_type.gpu, instance_type.gpus, group.mig_layout)
        for name, nodes in self.aws.gpu.items():
            if nodes.mig_layout is not None:
                machine = aws_catalogue.instance_type(nodes.instance_types[0])
                gpu_model = machine.gpu if machine.gpu in catalogue.load().gpus else None
                key = f"{PROJECT}:cluster.aws.gpu.{name}.migLayout"
                yield Cut(key, machine.name, gpu_model, machine.gpus, nodes.mig_layout)

    def kubernetes(self, place: Place) -> tuple[str | None, str]:
        """Return the minor version of the cluster's Kubernetes, None where it is not ours, and where that is said."""
        if place is Place.LOCAL:
            version: str = load_versions()["tools"]["kubernetes"]["version"]
            return version.removeprefix("v").rpartition(".")[0], "versions.yaml: tools.kubernetes.version"
        if place is Place.AWS:
            return self.aws.kubernetes_version, f"{PROJECT}:cluster.aws.kubernetesVersion"
        return None, f"{PROJECT}:cluster.kubeconfig"
