"""Settings of the wasm role."""

from __future__ import annotations

from pydantic import StrictBool

from components.settings import RoleSettings


class WasmSettings(RoleSettings):
    """See defaults.yaml."""

    enabled: StrictBool
