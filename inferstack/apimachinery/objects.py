"""The type of a Kubernetes object as JSON or YAML, and the fields that every object has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

Object: TypeAlias = dict[str, Any]
"""An object that may be changed."""
ReadOnlyObject: TypeAlias = Mapping[str, Any]
"""An object that is only read."""
