"""Placement of MIG profiles on one GPU: an exact search over the placements that the driver allows.

An instance begins at one of its profile's starts and takes consecutive memory slices; instances must not overlap. A set
whose sums fit can still be impossible: two 3g.20gb use six of seven compute slices and the whole memory axis, so no
1g.5gb fits beside them. Media engines are divided too: a 1g.24gb+me.all leaves none, so only ``-me`` fits beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from inferstack.mig.catalogue import Gpu, Profile
from inferstack.mig.errors import LayoutError


@dataclass(frozen=True, order=True)
class Placement:
    """One instance on the memory axis: ``size`` slices from ``start``."""

    start: int
    size: int
    profile: str


def find_placement(model: Gpu, counts: Mapping[str, int]) -> tuple[Placement, ...] | None:
    """Return a placement of each instance, sorted by start, or None if one GPU cannot hold them together.

    Args:
        model: the GPU model.
        counts: instances by profile name; 0 is allowed.

    Raises:
        LayoutError: a profile that this GPU does not have, or a count below 0.
    """
    requested: list[tuple[str, int]] = []
    for name, count in sorted(counts.items()):
        if name not in model.profiles:
            raise LayoutError(f"{model.name} has no MIG profile {name!r}: it has {', '.join(model.profiles)}")
        if count < 0:
            raise LayoutError(f"{name}: a count of {count} is below 0")
        if count:
            requested.append((name, count))
    return _search(model, tuple(requested))


def require_placement(model: Gpu, counts: Mapping[str, int]) -> tuple[Placement, ...]:
    """Return the placement of `find_placement`.

    Raises:
        LayoutError: there is none; the message gives the reason: a profile's limit, engines, slices or placement.
    """
    placements = find_placement(model, counts)
    if placements is not None:
        return placements
    requested = ", ".join(f"{count} x {name}" for name, count in sorted(counts.items()) if count)
    for name, count in sorted(counts.items()):
        limit = model.profiles[name].max_count
        if count > limit:
            raise LayoutError(f"{requested}: {model.name} holds at most {limit} of {name}")
    media = [name for name, count in counts.items() if count and model.profiles[name].media_extensions]
    if sum(counts[name] for name in media) > 1:
        raise LayoutError(f"{requested}: the media extensions (+me) allow one instance per GPU")
    for engine, used, total in _media(model, counts):
        if used > total:
            raise LayoutError(f"{requested}: needs {used} {engine} engines, {model.name} has {total}")
    for what, total in (("compute", model.compute_slices), ("memory", model.memory_slices)):
        used = sum(getattr(model.profiles[name], f"{what}_slices") * count for name, count in counts.items())
        if used > total:
            raise LayoutError(f"{requested}: needs {used} {what} slices, {model.name} has {total}")
    raise LayoutError(f"{requested}: no placement on {model.name}, although it has enough slices")


def _media(model: Gpu, counts: Mapping[str, int]) -> Iterator[tuple[str, int, int]]:
    """Yield each kind of media engine with its number in use and its total."""
    for engine, total in model.engines.items():
        if engine != "copy":  # the driver hands out what there is
            yield engine, sum(model.profiles[name].engines[engine] * count for name, count in counts.items()), total


def _search(model: Gpu, requested: tuple[tuple[str, int], ...]) -> tuple[Placement, ...] | None:
    profiles = [(model.profiles[name], count) for name, count in requested]
    if any(count > profile.max_count for profile, count in profiles):
        return None
    if sum(count for profile, count in profiles if profile.media_extensions) > 1:
        return None
    if sum(profile.compute_slices * count for profile, count in profiles) > model.compute_slices:
        return None
    if any(used > total for _, used, total in _media(model, dict(requested))):
        return None
    # Largest first: they have the fewest starts, so dead ends are detected early.
    profiles.sort(key=lambda item: (-item[0].memory_slices, len(item[0].starts), item[0].name))
    flat = [profile for profile, count in profiles for _ in range(count)]
    for placements in _fill(flat, 0, 0, -1):
        return tuple(sorted(placements))
    return None


def _fill(flat: list[Profile], index: int, taken: int, after: int) -> Iterator[list[Placement]]:
    """Yield placements of ``flat[index:]`` beside the bit mask ``taken``, equal profiles in ascending order."""
    if index == len(flat):
        yield []
        return
    profile = flat[index]
    rising = after if index and flat[index - 1] is profile else -1
    for start in profile.starts:
        mask = ((1 << profile.memory_slices) - 1) << start
        if start <= rising or taken & mask:
            continue
        for rest in _fill(flat, index + 1, taken | mask, start):
            yield [Placement(start, profile.memory_slices, profile.name), *rest]
