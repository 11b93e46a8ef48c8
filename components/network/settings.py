"""Settings of the network role."""

from __future__ import annotations

from pydantic import StrictBool

from components.settings import RoleSettings


class NetworkSettings(RoleSettings):
    """See defaults.yaml."""

    enabled: StrictBool
