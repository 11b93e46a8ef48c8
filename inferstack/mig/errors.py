"""Errors in MIG input."""

from __future__ import annotations


class MigError(ValueError):
    """Base of this package's errors. The message names the invalid key or value and what is valid."""


class CatalogueError(MigError):
    """``catalogue.yaml`` is invalid, or a name is not in it."""


class ConfigError(MigError):
    """An invalid configuration; the message begins with the path of the field."""


class LayoutError(MigError):
    """A layout that a GPU or a node cannot have."""
