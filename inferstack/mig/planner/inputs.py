"""Fleet and demands as a user writes them; docs/mig-planner.md shows the format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr, ValidationError
from pydantic.alias_generators import to_camel

from inferstack.mig import catalogue
from inferstack.mig.errors import ConfigError, MigError
from inferstack.mig.placement import check
from inferstack.mig.planner.model import Demand, Fleet, FleetGpu, Instance, Scope

_MOST = 1_000_000
Name = Annotated[StrictStr, Field(min_length=1, max_length=253)]
Count = Annotated[StrictInt, Field(ge=0, le=_MOST)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel)


class InstanceInput(_Strict):
    """One MIG instance."""

    profile: Name
    start: Annotated[StrictInt, Field(ge=0, le=63)] | None = None
    """First unit of the memory axis; for all instances of a GPU or for none, then a placement is made."""
    pod: StrictStr = ""
    demand: StrictStr = ""
    pinned: StrictBool = True
    """False: the pod may be moved. Of no meaning without a pod."""


class GpuInput(_Strict):
    """One GPU."""

    instances: tuple[InstanceInput, ...] = ()


class NodeInput(_Strict):
    """One node, or several equal ones that no pod is on."""

    name: Name
    model: Name
    """Name of the board in the catalogue."""
    gpus: Annotated[StrictInt, Field(ge=1, le=64)] | tuple[GpuInput, ...]
    """How many there are, all empty, or each by index."""
    copies: Annotated[StrictInt, Field(ge=1, le=_MOST)] = 1
    """With more than one the names are ``<name>-0``, ``<name>-1`` and so on."""


class FleetInput(_Strict):
    """All GPUs."""

    scope: Scope = "node"
    nodes: tuple[NodeInput, ...]


class DemandInput(_Strict):
    """Equal instances that somebody wants."""

    name: Name
    count: Count
    priority: StrictInt = 0
    profile: StrictStr = ""
    memory_mib: Count = 0
    compute_slices: Annotated[StrictInt, Field(ge=0, le=7)] = 0
    max_per_node: Annotated[StrictInt, Field(ge=1, le=_MOST)] | None = None


class DemandsInput(_Strict):
    """All that is wanted."""

    demands: tuple[DemandInput, ...]


_Input = TypeVar("_Input", bound=BaseModel)


def parse_fleet(content: Any) -> Fleet:
    """Return the fleet that a parsed YAML file describes.

    Raises:
        ConfigError: with a line for each key or value that is wrong.
        LayoutError, CatalogueError: a name that is there twice, or instances that cannot be together.
    """
    found = _parse(FleetInput, content)
    known = catalogue.load().gpus
    for place, node in enumerate(found.nodes):
        if node.model not in known:
            raise ConfigError(f"nodes[{place}].model: no GPU {node.model!r}: there are {', '.join(known)}")
    if twice := [name for name, count in Counter(node.name for node in found.nodes).items() if count > 1]:
        raise ConfigError(f"nodes: {twice[0]} is there twice")
    gpus: list[FleetGpu] = []
    for place, node in enumerate(found.nodes):
        for copy in range(node.copies):
            name = node.name if node.copies == 1 else f"{node.name}-{copy}"
            given = (GpuInput(),) * node.gpus if isinstance(node.gpus, int) else node.gpus
            for index, gpu in enumerate(given):
                try:
                    seats = _seats(node.model, gpu)
                except MigError as error:
                    raise ConfigError(f"nodes[{place}].gpus[{index}]: {error}") from error
                gpus.append(FleetGpu(f"{name}/{index}", name, node.model, seats))
    return Fleet(tuple(gpus), found.scope)


def _seats(model: str, gpu: GpuInput) -> tuple[Instance, ...]:
    board = catalogue.gpu(model)
    starts = [seat.start for seat in gpu.instances]
    if None not in starts:
        pairs = zip(gpu.instances, starts, strict=True)
        return tuple(sorted(_instance(seat, start) for seat, start in pairs if start is not None))
    if any(start is not None for start in starts):
        raise ConfigError("give the start of every instance of a GPU, or of none")
    for seat in gpu.instances:
        board.profile(seat.profile)
    free: dict[str, list[int]] = {}
    for place in check(board, Counter(seat.profile for seat in gpu.instances)):
        free.setdefault(place.profile, []).append(place.start)
    return tuple(sorted(_instance(seat, free[seat.profile].pop(0)) for seat in gpu.instances))


def _instance(seat: InstanceInput, start: int) -> Instance:
    return Instance(start, seat.profile, seat.pod, seat.demand, seat.pinned and bool(seat.pod))


def parse_demands(content: Any) -> tuple[Demand, ...]:
    """Return the demands that a parsed YAML file describes.

    Raises:
        ConfigError: with a line for each key or value that is wrong.
    """
    known = set(catalogue.profile_names())
    found = []
    for place, one in enumerate(_parse(DemandsInput, content).demands):
        if one.profile and one.profile not in known:
            raise ConfigError(f"demands[{place}].profile: no GPU has {one.profile!r}; see `inferstack mig table`")
        try:
            found.append(
                Demand(
                    one.name, one.count, one.priority, one.profile, one.memory_mib, one.compute_slices, one.max_per_node
                )
            )
        except MigError as error:
            raise ConfigError(f"demands[{place}]: {error}") from error
    if twice := [name for name, count in Counter(demand.name for demand in found).items() if count > 1]:
        raise ConfigError(f"demands: {twice[0]} is there twice")
    return tuple(found)


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
                "gpus": [{"instances": [_dump(seat) for seat in gpu.instances]} for gpu in gpus],
            }
            for node, gpus in nodes.items()
        ],
    }


def _dump(seat: Instance) -> dict[str, Any]:
    who: dict[str, Any] = {"pod": seat.pod, "pinned": seat.pinned} if seat.pod else {}
    return {"profile": seat.profile, "start": seat.start, **who, **({"demand": seat.demand} if seat.demand else {})}


def _parse(model: type[_Input], content: Any) -> _Input:
    if not isinstance(content, Mapping):
        raise ConfigError(f"not a mapping with {', '.join(model.model_fields)}")
    try:
        return model.model_validate(content)
    except ValidationError as error:
        # Of a key that takes one of two types pydantic tells of each.
        raise ConfigError("\n".join(dict.fromkeys(_told(one) for one in error.errors()))) from error


def _told(detail: Any) -> str:
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
