"""The rules, loaded once from their files."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from inferstack.errors import UserError, hint
from inferstack.policy.model import Rule

FOLDER = Path(__file__).parent / "rules"
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@functools.cache
def rules() -> Mapping[str, Rule]:
    """Return all rules by id, in the order of their ids."""
    return {path.stem: read(path) for path in sorted(FOLDER.glob("*.yaml"))}


def read(path: Path) -> Rule:
    """Return the rule in a file, whose name is the id."""
    return Rule.model_validate({"id": path.stem, **yaml.load(path.read_text(), Loader=_Loader)})  # noqa: S506  # safe


def find(name: str) -> Rule:
    """Return a rule.

    Raises:
        UserError: there is no rule with that id.
    """
    rule = rules().get(name)
    if rule is None:
        raise UserError(f'There is no rule "{name}"; {hint(name, rules())}')
    return rule


@functools.cache
def function(name: str) -> Callable[..., Any]:
    """Return a check in Python by name, ``module.function``."""
    module, _, attribute = name.rpartition(".")
    check: Callable[..., Any] = getattr(importlib.import_module(f"inferstack.policy.checks.{module}"), attribute)
    return check
