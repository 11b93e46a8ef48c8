"""What NVIDIA's tools say of a node, read; and where it is not as it should be. No I/O: tests hand the texts in."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from inferstack.mig import catalogue
from inferstack.mig.layout import GpuState, Layout, apply_layout, mig_disabled

QUERY = "index,name,driver_version,mig.mode.current,mig.mode.pending"
"""Fields of ``nvidia-smi --query-gpu=... --format=csv,noheader`` that `read_gpus` takes."""
_GPU_LINE = re.compile(r"GPU (?P<index>\d+): (?P<name>.+) \(UUID: GPU-[0-9a-f-]+\)")
_MIG_LINE = re.compile(r"\s+MIG (?P<profile>\S+)\s+Device\s+\d+: \(UUID: MIG-[0-9a-f-]+\)")
_MODULE = re.compile(
    r"NVRM version: NVIDIA UNIX (?P<kind>Open )?.*?Kernel Module.*?\s(?P<version>\d{3}\.\d+(\.\d+)?)\s"
)


@dataclass(frozen=True)
class Gpu:
    """One GPU as the driver sees it."""

    index: int
    name: str
    driver: str
    mig: bool
    """MIG mode is on."""
    pending: bool
    """What MIG mode is after the next reset."""

    @property
    def model(self) -> catalogue.Gpu | None:
        """The GPU in the catalogue, None where it has no such board."""
        product = self.name.replace(" ", "-")
        return next((model for model in catalogue.load().gpus.values() if model.product == product), None)


@dataclass(frozen=True)
class Module:
    """The kernel module that is loaded."""

    version: str
    open: bool


def read_gpus(text: str) -> list[Gpu]:
    """Read the answer to `QUERY`. GPUs without MIG say [N/A]."""
    modules = []
    for line in text.strip().splitlines():
        index, name, driver, current, pending = (part.strip() for part in line.split(","))
        modules.append(Gpu(int(index), name, driver, current == "Enabled", pending == "Enabled"))
    return modules


def read_instances(text: str) -> dict[int, Counter[str]]:
    """Read ``nvidia-smi -L``: MIG devices by GPU and profile.

    Raises:
        ValueError: a line is of another form.
    """
    instances: dict[int, Counter[str]] = {}
    current: Counter[str] | None = None
    for line in text.rstrip().splitlines():
        if match := _GPU_LINE.fullmatch(line.rstrip()):
            current = instances.setdefault(int(match["index"]), Counter())
        elif current is not None and (match := _MIG_LINE.fullmatch(line.rstrip())):
            current[match["profile"]] += 1
        else:
            raise ValueError(f"{line!r} is no line of nvidia-smi -L")
    return instances


def read_module(text: str) -> Module:
    """Read ``/proc/driver/nvidia/version``.

    Raises:
        ValueError: it is of another form.
    """
    match = _MODULE.search(text)
    if not match:
        raise ValueError(f"{text!r} names no version")
    return Module(match["version"], match["kind"] is not None)


def states_of(gpus: Sequence[Gpu], instances: Mapping[int, Counter[str]]) -> tuple[GpuState, ...]:
    """Return how the GPUs are cut, in the planner's terms."""
    return tuple(GpuState(gpu.mig, dict(instances.get(gpu.index, {}))) for gpu in gpus)


def unlike_layout(gpus: Sequence[Gpu], instances: Mapping[int, Counter[str]], layout: Layout) -> Iterator[str]:
    """Yield where the GPUs are cut otherwise than a layout wants."""
    names = sorted({gpu.name for gpu in gpus})
    model = gpus[0].model if len(names) == 1 else None
    if model is None:
        yield f"cannot be planned for: {', '.join(names) or 'no GPU'}"
        return
    wanted = apply_layout(layout, model, mig_disabled(len(gpus)))
    for gpu, want, have in zip(gpus, wanted, states_of(gpus, instances), strict=True):
        if gpu.mig != gpu.pending:
            yield f"GPU {gpu.index}: MIG mode changes with the next reset only"
        if want != have:
            yield f"GPU {gpu.index}: has {_shown(have)}, the layout wants {_shown(want)}"


def _shown(state: GpuState) -> str:
    if not state.enabled:
        return "MIG off"
    return ", ".join(f"{count} x {name}" for name, count in sorted(state.profiles.items())) or "MIG on and no instance"
