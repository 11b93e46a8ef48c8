"""What can be wrong with MIG input."""

from __future__ import annotations


class MigError(ValueError):
    """Base of this package's errors: the message names the key or value at fault and what is legal."""


class CatalogueError(MigError):
    """``catalogue.yaml`` itself is wrong, or a name is not in it."""


class ConfigError(MigError):
    """A mig-parted configuration that is not valid; the message begins with the path of the field."""


class LayoutError(MigError):
    """A layout that a GPU or a node cannot take."""
