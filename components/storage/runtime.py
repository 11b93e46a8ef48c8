"""Settings of a dataset's runtime: Alluxio's workers and their storage tiers."""

from __future__ import annotations

import re
from typing import Annotated, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    StrictInt,
    StrictStr,
    StringConstraints,
    ValidationInfo,
    field_validator,
)

from components.quantities import Bytes
from components.settings import RoleSettings

SPEED = ("MEM", "SSD", "HDD")
_TMPFS = re.compile(r"/(dev/shm|run)(/.*)?")


def _share(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return value
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if not 0 < number <= 1:
        raise ValueError(f"expected a share above 0 and at most 1, such as '0.95', got {value!r}")
    return str(value)


Value = TypeVar("Value")


def _non_empty(value: tuple[Value, ...]) -> tuple[Value, ...]:
    if not value:
        raise ValueError("needs 1 or more entries")
    return value


# Not Field(min_length=1), which also reports a list whose entries are invalid.
NonEmpty = Annotated[tuple[Value, ...], AfterValidator(_non_empty)]
"""A list with at least one entry."""
Ratio = Annotated[StrictStr, BeforeValidator(_share)]
NodePath = Annotated[StrictStr, StringConstraints(pattern=r"^/[^,\s]*[^,\s/]$")]
Amounts = dict[Literal["cpu", "memory", "ephemeral-storage"], StrictStr | StrictInt]


class Tier(RoleSettings):
    """A storage tier of a worker."""

    mediumtype: Literal["MEM", "SSD", "HDD"]
    """Medium: MEM (a tmpfs), SSD or HDD. Each at most once."""
    volume_type: Literal["hostPath", "emptyDir"] = "hostPath"
    """hostPath: survives the worker's pod, and pods on the node read it directly. emptyDir: deleted with the pod."""
    path: NodePath | NonEmpty[NodePath]
    """Directory on the node, with a subdirectory for each dataset; or a list of directories, one for each disk."""
    quota: Bytes
    """Maximum bytes that a worker stores in each of these directories."""
    high: Ratio = "0.95"
    """Share of the quota at which Alluxio starts eviction."""
    low: Ratio = "0.7"
    """Share of the quota at which Alluxio stops eviction."""

    @property
    def paths(self) -> tuple[str, ...]:
        """The directories as a list."""
        return (self.path,) if isinstance(self.path, str) else self.path

    @field_validator("path")
    @classmethod
    def _fits(cls, path: str | tuple[str, ...], info: ValidationInfo) -> str | tuple[str, ...]:
        kind, volume = info.data.get("mediumtype"), info.data.get("volume_type")
        paths = (path,) if isinstance(path, str) else path
        for directory in paths:
            memory = bool(_TMPFS.fullmatch(directory))
            if kind and volume == "hostPath" and memory != (kind == "MEM"):
                raise ValueError(
                    f"{directory} is {'in memory' if memory else 'on a disk'}; {kind} must not be used for it"
                )
            if paths.count(directory) > 1:
                raise ValueError(f"{directory} is a duplicate")
        if len(paths) > 1 and volume == "emptyDir":
            raise ValueError("a list of directories needs volumeType: hostPath")
        return path


class NodeRule(RoleSettings):
    """A required node label."""

    key: Annotated[StrictStr, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9./_-]*$", max_length=317)]
    """Key of the label."""
    values: NonEmpty[StrictStr]
    """Allowed values of the label."""


class Toleration(RoleSettings):
    """A toleration of workers."""

    key: StrictStr
    """Key of the taint."""
    operator: Literal["Exists", "Equal"] = "Exists"
    """Exists: any value. Equal: the given value."""
    value: StrictStr | None = None
    """Value of the taint, for operator Equal."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """Effect of the taint. null: any."""


class User(RoleSettings):
    """User as which Alluxio runs on the nodes."""

    uid: Annotated[StrictInt, Field(ge=0)]
    """User ID."""
    gid: Annotated[StrictInt, Field(ge=0)]
    """Group ID."""
    user: StrictStr
    """User name."""
    group: StrictStr
    """Group name."""


class Container(RoleSettings):
    """Resources of a container."""

    requests: Amounts = Field(default_factory=dict)
    """Resource requests."""
    limits: Amounts = Field(default_factory=dict)
    """Resource limits."""


class Worker(RoleSettings):
    """Alluxio's workers."""

    resources: Container = Container()
    """Resources of a worker."""


class FuseProcess(RoleSettings):
    """Alluxio's FUSE processes."""

    args: tuple[StrictStr, ...] = ()
    """Arguments that replace Fluid's defaults."""
    clean_policy: Literal["OnRuntimeDeleted", "OnDemand", "OnFuseChanged"] = "OnRuntimeDeleted"
    """When the FUSE pod of a node is deleted."""
    resources: Container = Container()
    """Resources of a FUSE pod."""


class Runtime(RoleSettings):
    """An AlluxioRuntime. Fields that a dataset omits are as in `storage.runtime`."""

    replicas: Annotated[StrictInt, Field(ge=1, le=1000)] = 1
    """Number of workers, at most one per node."""
    tieredstore: tuple[Tier, ...] = ()
    """Storage tiers of each worker."""
    node_affinity: tuple[NodeRule, ...] = ()
    """Required labels of the nodes that run workers."""
    tolerations: tuple[Toleration, ...] = ()
    """Tolerations of workers."""
    data_replicas: Annotated[StrictInt, Field(ge=1, le=100)] = 1
    """Maximum number of copies of a block."""
    run_as: User | None = None
    """User as which Alluxio runs. null: root."""
    properties: dict[StrictStr, StrictStr] = Field(default_factory=dict)
    """Further properties of Alluxio."""
    worker: Worker = Worker()
    """Workers."""
    fuse: FuseProcess = FuseProcess()
    """FUSE processes."""

    def over(self, base: Runtime) -> Runtime:
        """Return ``base`` overlaid with these settings."""
        return base.model_copy(update={name: getattr(self, name) for name in self.model_fields_set})

    @field_validator("tieredstore")
    @classmethod
    def _in_order(cls, levels: tuple[Tier, ...]) -> tuple[Tier, ...]:
        kinds = [level.mediumtype for level in levels]
        if kinds != sorted(set(kinds), key=SPEED.index):
            raise ValueError(f"tiers are {', '.join(SPEED)} in this order, each at most once; got {', '.join(kinds)}")
        return levels
