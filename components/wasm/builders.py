"""The objects of the wasm role, as pure functions."""

from __future__ import annotations

from typing import Any

from components.addon import AddonName
from components.wasm.settings import WasmSettings


def make_charts(_settings: WasmSettings) -> dict[AddonName, dict[str, Any]]:
    """Return the add-ons that these settings ask for, with the values of their charts."""
    return {}
