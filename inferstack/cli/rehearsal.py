"""Start, stop and look at the rehearsal's control plane."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    """Add this module's commands to the application."""
