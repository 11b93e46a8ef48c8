"""Settings of the gpu role."""

from __future__ import annotations

import enum
from typing import Any

from pydantic import StrictBool

from components.settings import RoleSettings


class Strategy(enum.StrEnum):
    """How MIG slices are named to Kubernetes."""

    NONE = "none"
    SINGLE = "single"
    MIXED = "mixed"


class Mig(RoleSettings):
    """How GPUs are cut."""

    strategy: Strategy
    layouts: dict[str, list[dict[str, Any]]]


class Part(RoleSettings):
    """A part of the GPU operator that can be left out."""

    enabled: StrictBool


class GpuSettings(RoleSettings):
    """See defaults.yaml."""

    mig: Mig
    driver: Part
    toolkit: Part
    dcgm_exporter: Part
