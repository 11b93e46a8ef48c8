"""Settings of the place aws, below ``cluster.aws``; what several values say together is checked in checks.py."""

from __future__ import annotations

import enum
import ipaddress
import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StrictBool, StrictInt, StringConstraints

from components.settings import DnsLabel, RoleSettings

AccountId = Annotated[str, StringConstraints(pattern=r"^\d{12}$")]
RoleArn = Annotated[str, StringConstraints(pattern=r"^arn:aws[a-z-]*:iam::\d{12}:(role|user)/\S+$")]
SecretArn = Annotated[
    str, StringConstraints(pattern=r"^arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:\d{12}:secret:ecr-pullthroughcache/\S+$")
]
ReservationId = Annotated[str, StringConstraints(pattern=r"^cr-[0-9a-f]{8,17}$")]
Size = Annotated[StrictInt, Field(ge=0, le=1000)]
Gib = Annotated[StrictInt, Field(ge=20, le=16384)]
# What CloudWatch Logs takes, from a week to ten years.
Days = Literal[7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653]
LogType = Literal["api", "audit", "authenticator", "controllerManager", "scheduler"]
AddonName = Literal["vpc-cni", "kube-proxy", "coredns", "eks-pod-identity-agent", "aws-ebs-csi-driver"]
AccessPolicy = Literal[
    "AmazonEKSClusterAdminPolicy", "AmazonEKSAdminPolicy", "AmazonEKSEditPolicy", "AmazonEKSViewPolicy"
]
Endpoint = Literal[
    "autoscaling", "ec2", "ecr.api", "ecr.dkr", "eks", "eks-auth", "elasticloadbalancing", "kms", "logs", "sts"
]
"""AWS services that nodes and controllers call, by the last part of the endpoint service's name."""


def cidr(value: object) -> str:
    """Check a network in CIDR notation; host bits are refused, since AWS silently clears them."""
    try:
        return str(ipaddress.IPv4Network(str(value)))
    except ValueError as error:
        raise ValueError(f"expected a network such as 10.64.0.0/16: {error}") from None


def service_account(value: object) -> str:
    """Check the name of a service account with its namespace."""
    label = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
    if not re.fullmatch(f"{label}/{label}", str(value)):
        raise ValueError(f"expected namespace/name such as nlp/default, got {value}")
    return str(value)


def _not_everyone(value: str) -> str:
    if ipaddress.IPv4Network(value).prefixlen == 0:
        raise ValueError(f"{value} is everyone; name the networks that need it")
    return value


ServiceAccount = Annotated[str, BeforeValidator(service_account)]
Cidr = Annotated[str, BeforeValidator(cidr)]
ClosedCidr = Annotated[str, BeforeValidator(cidr), AfterValidator(_not_everyone)]


class Capacity(enum.StrEnum):
    """How instances are bought."""

    ON_DEMAND = "ON_DEMAND"
    SPOT = "SPOT"
    CAPACITY_BLOCK = "CAPACITY_BLOCK"


class Nat(enum.StrEnum):
    """How nodes reach the internet."""

    ZONE = "zone"
    SINGLE = "single"


class Zone(RoleSettings):
    """An availability zone with its two subnets."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z]{2}(-[a-z]+)+-\d[a-z]$")]
    """Name of the zone, such as us-west-2a. GPU types are not in every zone: look before you choose."""
    nodes: Cidr
    """Private subnet of nodes, pods and interface endpoints (CIDR). Each pod takes an address: a /19 has 8,187."""
    public: Cidr
    """Public subnet of load balancers and the NAT gateway (CIDR). A /24 is ample."""


class Network(RoleSettings):
    """The VPC."""

    cidr: Cidr
    zones: tuple[Zone, ...]
    nat: Nat
    endpoints: tuple[Endpoint, ...]


class AccessEntry(RoleSettings):
    """Who may work on the cluster."""

    principal: RoleArn
    """ARN of the IAM role or user."""
    policy: AccessPolicy = "AmazonEKSViewPolicy"
    """What they may do: one of the policies of EKS. Reading is the least of them."""
    namespaces: tuple[DnsLabel, ...] = ()
    """Where they may do it. Empty: everywhere."""


class Logs(RoleSettings):
    """The control plane's logs."""

    types: tuple[LogType, ...]
    retention_days: Days


class Endpoints(RoleSettings):
    """Who reaches the API server."""

    public_from: tuple[ClosedCidr, ...]
    private_from: tuple[ClosedCidr, ...]


class SystemNodes(RoleSettings):
    """The nodes of the cluster's own pods."""

    instance_types: Annotated[tuple[str, ...], Field(min_length=1)]
    min_nodes: Annotated[StrictInt, Field(ge=1, le=100)]
    max_nodes: Annotated[StrictInt, Field(ge=1, le=100)]
    disk_gib: Gib


class GpuNodes(RoleSettings):
    """GPU nodes of one kind on EKS: a managed node group with its launch template."""

    instance_types: Annotated[tuple[str, ...], Field(min_length=1)]
    """Types of the machine, best first. Several with the same GPUs let spot nodes come from more pools."""
    capacity: Capacity = Capacity.ON_DEMAND
    """How they are bought. SPOT nodes go with two minutes' notice; CAPACITY_BLOCK is GPU time that was bought ahead."""
    min_nodes: Size = 0
    """Nodes at least. 0: a group that nobody uses costs nothing."""
    desired_nodes: Size = 1
    """Nodes at the beginning; later the autoscaler's or the console's number stays."""
    max_nodes: Size = 1
    """Nodes at most."""
    zone_names: tuple[str, ...] = ()
    """Zones of the nodes. Empty: all of the VPC's. One, for a placement group, EFA or a reservation."""
    reservation: ReservationId | None = None
    """Capacity reservation or Capacity Block (cr-...) that the nodes are taken from, and from nowhere else."""
    placement_group: StrictBool = False
    """Put the nodes close together in their zone, for the shortest way between them."""
    efa: StrictBool = False
    """Give each node all EFA interfaces of its type, for NCCL over several nodes."""
    mig_layout: str | None = None
    """Name of the MIG layout that the nodes ask for (label nvidia.com/mig.config). Without one the GPUs stay whole."""
    disk_gib: Gib = 200
    """Root disk (GiB, gp3, encrypted). CUDA images are 10 to 20 GB each; with a local store they lie there instead."""
    local_store: StrictBool = True
    """Join the type's NVMe disks to one RAID 0 for images, logs and emptyDir volumes. They are empty after a stop."""
    max_unavailable: Annotated[StrictInt, Field(ge=1, le=100)] = 1
    """Nodes that an update replaces at once. It is also how many more there are meanwhile, if there is capacity."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Further labels of the nodes."""


class ModelBucket(RoleSettings):
    """The bucket with the models."""

    readers: tuple[ServiceAccount, ...]
    noncurrent_days: Annotated[StrictInt, Field(ge=1, le=3650)]
    force_destroy: StrictBool


class Upstream(RoleSettings):
    """A registry whose images ECR fetches and keeps."""

    registry: str
    """Its host name, such as registry.k8s.io."""
    credential: SecretArn | None = None
    """ARN of the secret with its credentials, named ecr-pullthroughcache/... Docker Hub and GitHub need one."""


class Keys(RoleSettings):
    """The KMS keys."""

    deletion_days: Annotated[StrictInt, Field(ge=7, le=30)]
    rotation_days: Annotated[StrictInt, Field(ge=90, le=2560)]


class AwsSettings(RoleSettings):
    """See defaults.yaml."""

    account_id: AccountId | None
    region: str | None
    kubernetes_version: str
    support: Literal["STANDARD", "EXTENDED"]
    tags: dict[str, str]
    network: Network
    service_cidr: Cidr
    endpoints: Endpoints
    access: dict[DnsLabel, AccessEntry]
    logs: Logs
    addon_versions: dict[AddonName, str]
    system: SystemNodes
    gpu: dict[DnsLabel, GpuNodes]
    models: ModelBucket
    registries: dict[DnsLabel, Upstream]
    keys: Keys
    protect: StrictBool

    @property
    def given(self) -> bool:
        """Return whether a stack has said where its account is; only the place aws may."""
        return self.account_id is not None or self.region is not None or bool(self.gpu) or bool(self.access)
