"""Settings of the kernel role."""

from __future__ import annotations

from pydantic import StrictBool

from components.settings import RoleSettings


class KernelSettings(RoleSettings):
    """See defaults.yaml."""

    enabled: StrictBool
