"""Settings of the mesh role."""

from __future__ import annotations

from pydantic import StrictBool

from components.settings import RoleSettings


class MeshSettings(RoleSettings):
    """See defaults.yaml."""

    enabled: StrictBool
