"""The input files of the planner: fleet and demands. docs/mig-planner.md shows the format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, Field, StrictBool, StrictInt, StrictStr, ValidationError

from inferstack.apimachinery.model import CamelModel
from inferstack.mig import catalogue
from inferstack.mig.errors import ConfigError, MigError
from inferstack.mig.fleet import Fleet, FleetGpu, Instance, Scope
from inferstack.mig.placement import require_placement
from inferstack.mig.planner.model import Demand

_MOST = 1_000_000
Name = Annotated[StrictStr, Field(min_length=1, max_length=253)]
Count = Annotated[StrictInt, Field(ge=0, le=_MOST)]


class InstanceInput(CamelModel):
    """One MIG instance."""

    profile: Name
    start: Annotated[StrictInt, Field(ge=0, le=63)] | None = None
    """First unit of the memory axis. Given for all instances of a GPU, or for none: then a placement is chosen."""
    pod: StrictStr = ""
    demand: StrictStr = ""
    pinned: StrictBool = True
    """Whether the pod must not be moved. Ignored without a pod."""


class GpuInput(CamelModel):
    """One GPU."""

    instances: tuple[InstanceInput, ...] = ()


class NodeInput(CamelModel):
    """One node, or several equal nodes without pods."""

    name: Name
    model: Name
    """Name of the GPU model in the catalogue."""
    gpus: Annotated[StrictInt, Field(ge=1, le=64)] | tuple[GpuInput, ...]
    """Number of empty GPUs, or each GPU by index."""
    copies: Annotated[StrictInt, Field(ge=1, le=_MOST)] = 1
    """Number of such nodes. If above 1, their names are ``<name>-0``, ``<name>-1`` and so on."""


class FleetInput(CamelModel):
    """All GPUs."""

    scope: Scope = "node"
    nodes: tuple[NodeInput, ...]


class DemandInput(CamelModel):
    """Equal instances that are requested."""

    name: Name
    count: Count
    priority: StrictInt = 0
    profile: StrictStr = ""
    memory_mib: Count = 0
    compute_slices: Annotated[StrictInt, Field(ge=0, le=7)] = 0
    max_per_node: Annotated[StrictInt, Field(ge=1, le=_MOST)] | None = None


class DemandsInput(CamelModel):
    """All demands."""

    demands: tuple[DemandInput, ...]


_Input = TypeVar("_Input", bound=BaseModel)


def parse_fleet(content: Any) -> Fleet:
    """Return the fleet that a parsed YAML file describes.

    Raises:
        ConfigError: a key or value is invalid; the message has one line for each, beginning with the key path.
        LayoutError, CatalogueError: a duplicate name, or instances that a GPU cannot carry together.
    """
    parsed = _parse(FleetInput, content)
    gpu_models = catalogue.load().gpus
    for index, node in enumerate(parsed.nodes):
        if node.model not in gpu_models:
            raise ConfigError(f"nodes[{index}].model: no GPU {node.model!r}: there are {', '.join(gpu_models)}")
    if duplicates := [name for name, count in Counter(node.name for node in parsed.nodes).items() if count > 1]:
        raise ConfigError(f"nodes: {duplicates[0]} is there twice")
    gpus: list[FleetGpu] = []
    for index, node in enumerate(parsed.nodes):
        for copy in range(node.copies):
            name = node.name if node.copies == 1 else f"{node.name}-{copy}"
            listed = (GpuInput(),) * node.gpus if isinstance(node.gpus, int) else node.gpus
            for number, gpu in enumerate(listed):
                try:
                    instances = _instances(node.model, gpu)
                except MigError as error:
                    raise ConfigError(f"nodes[{index}].gpus[{number}]: {error}") from error
                gpus.append(FleetGpu(f"{name}/{number}", name, node.model, instances))
    return Fleet(tuple(gpus), parsed.scope)


def _instances(model: str, gpu: GpuInput) -> tuple[Instance, ...]:
    gpu_model = catalogue.gpu(model)
    starts = [instance.start for instance in gpu.instances]
    if None not in starts:
        pairs = zip(gpu.instances, starts, strict=True)
        return tuple(sorted(_instance(instance, start) for instance, start in pairs if start is not None))
    if any(start is not None for start in starts):
        raise ConfigError("give the start of every instance of a GPU, or of none")
    for instance in gpu.instances:
        gpu_model.profile(instance.profile)
    free: dict[str, list[int]] = {}
    for placement in require_placement(gpu_model, Counter(instance.profile for instance in gpu.instances)):
        free.setdefault(placement.profile, []).append(placement.start)
    return tuple(sorted(_instance(instance, free[instance.profile].pop(0)) for instance in gpu.instances))


def _instance(instance: InstanceInput, start: int) -> Instance:
    return Instance(start, instance.profile, instance.pod, instance.demand, instance.pinned and bool(instance.pod))


def parse_demands(content: Any) -> tuple[Demand, ...]:
    """Return the demands that a parsed YAML file describes.

    Raises:
        ConfigError: a key or value is invalid; the message has one line for each, beginning with the key path.
    """
    gpu_models = set(catalogue.profile_names())
    parsed = []
    for index, entry in enumerate(_parse(DemandsInput, content).demands):
        if entry.profile and entry.profile not in gpu_models:
            raise ConfigError(f"demands[{index}].profile: no GPU has {entry.profile!r}; see `inferstack mig table`")
        try:
            parsed.append(
                Demand(
                    entry.name,
                    entry.count,
                    entry.priority,
                    entry.profile,
                    entry.memory_mib,
                    entry.compute_slices,
                    entry.max_per_node,
                )
            )
        except MigError as error:
            raise ConfigError(f"demands[{index}]: {error}") from error
    if duplicates := [name for name, count in Counter(demand.name for demand in parsed).items() if count > 1]:
        raise ConfigError(f"demands: {duplicates[0]} is there twice")
    return tuple(parsed)


def dump_fleet(fleet: Fleet) -> dict[str, Any]:
    """Return a fleet in the form that `parse_fleet` reads."""
    nodes: dict[str, list[FleetGpu]] = {}
    for gpu in fleet.gpus:
        nodes.setdefault(gpu.node, []).append(gpu)
    return {
        "scope": fleet.scope,
        "nodes": [
            {
                "name": node,
                "model": gpus[0].model,
                "gpus": [{"instances": [_dump(instance) for instance in gpu.instances]} for gpu in gpus],
            }
            for node, gpus in nodes.items()
        ],
    }


def _dump(instance: Instance) -> dict[str, Any]:
    who: dict[str, Any] = {"pod": instance.pod, "pinned": instance.pinned} if instance.pod else {}
    return {
        "profile": instance.profile,
        "start": instance.start,
        **who,
        **({"demand": instance.demand} if instance.demand else {}),
    }


def _parse(model: type[_Input], content: Any) -> _Input:
    if not isinstance(content, Mapping):
        raise ConfigError(f"not a mapping with {', '.join(model.model_fields)}")
    try:
        return model.model_validate(content)
    except ValidationError as error:
        # For a key of a union type pydantic reports an error for each member.
        raise ConfigError("\n".join(dict.fromkeys(_format_error(detail) for detail in error.errors()))) from error


def _format_error(detail: Any) -> str:
    path = ""
    for part in detail["loc"]:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part not in ("constrained-int", "int") and not part.startswith("tuple["):
            path += f".{part}"
    if detail["type"] == "extra_forbidden":
        return f"{path.removeprefix('.')}: unknown key"
    if detail["type"] == "missing":
        return f"{path.removeprefix('.')}: is required"
    return f"{path.removeprefix('.')}: {detail['msg']}, got {detail['input']!r}"
