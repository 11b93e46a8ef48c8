"""The error of the scaling algorithms."""

from __future__ import annotations


class ScalingError(ValueError):
    """Invalid input; the message names the field and the valid range."""
