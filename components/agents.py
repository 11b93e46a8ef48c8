"""What roles share that run a program of their own on nodes: which nodes, and the program in a ConfigMap."""

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
        raise ValueError(f"expected the key of a label such as example.com/pool, got {value!r}")
    return value


def _value(value: object) -> str:
    # true and 1 are no strings to YAML, and labels are nothing else.
    if not isinstance(value, str) or not re.fullmatch(rf"({_NAME})?", value):
        raise ValueError(f'expected the value of a label, in quotes, such as "true", got {value!r}')
    return value


NodeLabels = dict[Annotated[str, BeforeValidator(_label)], Annotated[str, BeforeValidator(_value)] | None]
"""Labels that pick nodes. Mappings of a stack are laid over the defaults: null takes a default away."""


def chosen_nodes(selector: Mapping[str, str | None], key: str) -> dict[str, str]:
    """Return the labels that pick nodes.

    Args:
        selector: as the stack gives it.
        key: its path.

    Raises:
        UserError: none is left; it would be every node, the control plane's too.
    """
    left = {label: value for label, value in selector.items() if value is not None}
    if not left:
        raise UserError(f"{key_path(key, ('nodeSelector',))}: picks every node, the control plane's too; name a label.")
    return left


def program(role: str) -> dict[str, str]:
    """Return the files of a role's agent by name: a Python package that needs the standard library only."""
    folder = Path(__file__).parent / role / "agent"
    return {file.name: file.read_text() for file in sorted(folder.glob("*.py"))}


def digest(files: Mapping[str, str]) -> str:
    """Return a hash of a program and its configuration: its pods start anew where it changes."""
    return hashlib.sha256(json.dumps(dict(files), sort_keys=True).encode()).hexdigest()[:16]
