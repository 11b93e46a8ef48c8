"""The error of wrong input to the scaling algorithms."""

from __future__ import annotations


class ScalingError(ValueError):
    """An input that cannot be: the message names the field at fault and what would do."""
