"""Settings of the storage role."""

from __future__ import annotations

from pydantic import StrictBool

from components.settings import RoleSettings


class StorageSettings(RoleSettings):
    """See defaults.yaml."""

    enabled: StrictBool
