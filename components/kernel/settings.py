"""Settings of the kernel role."""

from __future__ import annotations

import enum
from typing import Annotated

from pydantic import Field, StrictBool, StrictInt, StringConstraints

from components.agents import NodeLabels
from components.settings import RoleSettings


class TuneMode(enum.StrEnum):
    """What the agent does on each node."""

    DRY_RUN = "dryRun"
    APPLY = "apply"
    ROLLBACK = "rollback"


class Profile(enum.StrEnum):
    """Which settings are wanted."""

    LOW_LATENCY = "low-latency"
    CUSTOM = "custom"


class KernelSettings(RoleSettings):
    """See defaults.yaml."""

    enabled: StrictBool
    mode: TuneMode
    profile: Profile
    settings: dict[str, StrictInt | str | None]
    # The kernel's limit for names of network devices is 15 characters.
    interrupts_of: tuple[Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,15}$")], ...]
    node_selector: NodeLabels
    check_seconds: Annotated[StrictInt, Field(ge=5, le=86400)]
    image: str | None
