"""A stack's configuration file: its values, and the salt (with a cloud's key: the data key) of those encrypted."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from inferstack.apimachinery import yamltext
from inferstack.errors import UserError
from inferstack.project import project_root, stacks_dir

_SALT = re.compile(r"^(?:encryptionsalt|encryptedkey):.*\n?", re.MULTILINE)
_PROVIDER = re.compile(r"^secretsprovider:.*\n?", re.MULTILINE)
"""The engine removes the entry for a passphrase, its default; the user's file keeps it."""


def stack_file(stack: str) -> Path:
    """Return the configuration file of a stack.

    Raises:
        UserError: there is no such stack.
    """
    source = stacks_dir(project_root()) / f"Pulumi.{stack}.yaml"
    if not source.exists():
        known = sorted(path.name.split(".")[1] for path in source.parent.glob("Pulumi.*.yaml"))
        raise UserError(f'There is no stack "{stack}" ({source}); there are {", ".join(known)}.')
    return source


def read_file(path: Path) -> dict[str, Any]:
    """Return the content of a stack's file, with a mapping under ``config``.

    Raises:
        UserError: the file is no YAML, or has no mapping there.
    """
    try:
        content = yamltext.parse(path.read_text()) or {}
    except yaml.YAMLError as error:
        raise UserError(f"{path} is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict) or not isinstance(content.get("config") or {}, dict):
        raise UserError(f"{path}: expected a mapping of values under the key config.")
    return {**content, "config": content.get("config") or {}}


def read_values(path: Path) -> dict[str, Any]:
    """Return the values under ``config`` in a stack's file.

    Raises:
        UserError: the file is no YAML, or has no mapping there.
    """
    config: dict[str, Any] = read_file(path)["config"]
    return config


def check_settings(values: Sequence[str]) -> None:
    """Refuse a value of ``--config`` without ``=``.

    Raises:
        UserError: naming the value.
    """
    for value in values:
        if "=" not in value:
            raise UserError(f"--config {value}: expected KEY=VALUE, such as inferstack:gpu.mig.strategy=single.")


def with_salt(source: str, kept: str) -> str:
    """Return the text of a stack's configuration with the salt to use.

    Args:
        source: the user's file; its own salt holds if it has encrypted values, for they need it.
        kept: the earlier copy, or empty.
    """
    salt = _SALT.search(kept)
    if not salt or _has_encrypted(yamltext.parse(source)):
        return source
    return _SALT.sub("", source).rstrip("\n") + "\n" + salt[0]


def to_keep(source: str, copy: str) -> str:
    """Return the new text of the user's file after a command changed the copy.

    Args:
        source: the user's file, which stays as it is where only the salt is another.
        copy: the engine's; its salt comes along with values that are encrypted.
    """
    before, after = (yamltext.parse(_PROVIDER.sub("", _SALT.sub("", text))) or {} for text in (source, copy))
    if before == after:
        return source
    named = _PROVIDER.search(source)
    if named and not _PROVIDER.search(copy):
        copy = named[0].rstrip("\n") + "\n" + copy
    return copy if _has_encrypted(after) else _SALT.sub("", copy)


def _has_encrypted(node: object) -> bool:
    """Return whether a node contains a value that the engine encrypted: a mapping with the single key ``secure``."""
    if isinstance(node, dict):
        return (set(node) == {"secure"} and isinstance(node["secure"], str)) or any(map(_has_encrypted, node.values()))
    return isinstance(node, list) and any(map(_has_encrypted, node))
