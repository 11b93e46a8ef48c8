"""Node agents: the selection of nodes and the program in a ConfigMap, shared by the roles that run one."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator

from components.settings import key_path
from inferstack.errors import UserError

_NAME = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"


def _label(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(rf"([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?{_NAME}", value):
        raise ValueError(f"expected a label key such as example.com/pool, got {value!r}")
    return value


def _value(value: object) -> str:
    # YAML parses true and 1 as other types; label values are strings.
    if not isinstance(value, str) or not re.fullmatch(rf"({_NAME})?", value):
        raise ValueError(f'expected a quoted label value such as "true", got {value!r}')
    return value


NodeLabels = dict[Annotated[str, BeforeValidator(_label)], Annotated[str, BeforeValidator(_value)] | None]
"""A node selector. The stack's mapping is merged into the defaults; null removes a default."""


def chosen_nodes(selector: Mapping[str, str | None], key: str) -> dict[str, str]:
    """Return the labels of a node selector.

    Args:
        selector: the setting.
        key: key path of the role.

    Raises:
        UserError: the selector is empty and would select every node, including the control plane.
    """
    left = {label: value for label, value in selector.items() if value is not None}
    if not left:
        raise UserError(
            f"{key_path(key, ('nodeSelector',))}: selects every node, including the control plane; add a label."
        )
    return left


def program(role: str) -> dict[str, str]:
    """Return the files of a role's agent by name: a Python package that uses only the standard library."""
    folder = Path(__file__).parent / role / "agent"
    return {file.name: file.read_text() for file in sorted(folder.glob("*.py"))}


def digest(files: Mapping[str, str]) -> str:
    """Return a hash of a program and its configuration; a change of it restarts the pods."""
    return hashlib.sha256(json.dumps(dict(files), sort_keys=True).encode()).hexdigest()[:16]
