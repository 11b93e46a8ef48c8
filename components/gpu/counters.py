"""Counters of dcgm-exporter: groups of ``counters.yaml`` and the exporter's CSV file."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import StringConstraints, TypeAdapter

from inferstack.apimachinery import yamltext
from inferstack.apimachinery.model import StrictModel

Group = Literal[
    "clocks",
    "temperature",
    "power",
    "utilization",
    "memory",
    "errors",
    "remapping",
    "throttling",
    "nvlink",
    "profiling",
    "pipes",
    "identity",
]
GROUPS: tuple[Group, ...] = get_args(Group)
CSV_KEY = "dcgm-metrics.csv"
"""Key of the ConfigMap that the operator mounts for the exporter."""


class Counter(StrictModel):
    """A DCGM field; see the header of counters.yaml."""

    field: Annotated[str, StringConstraints(pattern=r"^DCGM_FI_(DEV|PROF)_[A-Z0-9_]+$|^DCGM_FI_DRIVER_VERSION$")]
    type: Literal["gauge", "counter", "label"]
    help: Annotated[str, StringConstraints(pattern=r'^[^,"#]+$')]


@functools.cache
def load() -> dict[Group, tuple[Counter, ...]]:
    """Return the counters by group."""
    content = yamltext.parse((Path(__file__).parent / "counters.yaml").read_text())
    return TypeAdapter(dict[Group, tuple[Counter, ...]]).validate_python(content)


def make_csv(groups: Sequence[Group]) -> str:
    """Return the exporter's CSV file with a line per field, in the order of counters.yaml.

    Args:
        groups: the groups to export, in any order.
    """
    rows = [(group, counter) for group, counters in load().items() if group in groups for counter in counters]
    lines = [f"{counter.field}, {counter.type}, {counter.help}" for _, counter in rows]
    return "# DCGM field, type in Prometheus, help\n" + "".join(f"{line}\n" for line in lines)
