"""The triggers of KEDA, read from ``triggers.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from inferstack.apimachinery import yamltext

_TRIGGERS = yamltext.parse((Path(__file__).parent / "triggers.yaml").read_text())

TYPES: frozenset[str] = frozenset(_TRIGGERS["types"])
"""All types of triggers."""
RESOURCES: frozenset[str] = frozenset(_TRIGGERS["resources"])
"""Types measured on running pods."""
REQUIRED: Mapping[str, tuple[str, ...]] = {kind: tuple(keys) for kind, keys in _TRIGGERS["required"].items()}
"""Required metadata by type."""
