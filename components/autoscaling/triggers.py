"""What KEDA knows of triggers, read from ``triggers.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import yaml

_KNOWN = yaml.safe_load((Path(__file__).parent / "triggers.yaml").read_text())

TYPES: frozenset[str] = frozenset(_KNOWN["types"])
"""Types of triggers."""
RESOURCES: frozenset[str] = frozenset(_KNOWN["resources"])
"""Types that are measured on running pods."""
REQUIRED: Mapping[str, tuple[str, ...]] = {kind: tuple(keys) for kind, keys in _KNOWN["required"].items()}
"""Metadata that a type cannot do without."""
