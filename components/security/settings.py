"""Settings of the security role."""

from __future__ import annotations

from pydantic import StrictBool

from components.settings import RoleSettings


class SecuritySettings(RoleSettings):
    """See defaults.yaml."""

    enabled: StrictBool
