"""Show what a stack's settings are in effect, and where each comes from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from components.platform.settings import ROLES, PlatformSettings
from components.provenance import Setting, place_of, settings_of
from components.settings import PROJECT
from inferstack.cli import output
from inferstack.cli.output import Format, FormatOption
from inferstack.cli.stack.commands import StackOption
from inferstack.cli.stack.configuration import read_values
from inferstack.cli.stack.session import stack_file
from inferstack.errors import UserError, hint

RolesArgument = Annotated[list[str] | None, typer.Argument(metavar="[ROLE]...", help="Only these roles, such as gpu.")]
ChangedOption = Annotated[bool, typer.Option("--changed", help="Only what the stack says itself.")]


def register(app: typer.Typer) -> None:
    """Add this module's commands to the application."""
    app.command()(settings)


def settings(
    roles: RolesArgument = None,
    stack: StackOption = "local",
    changed: ChangedOption = False,
    form: FormatOption = Format.TABLE,
) -> None:
    """Show a stack's effective settings, each with the file and line that it comes from; refuses wrong ones."""
    source = stack_file(stack)
    # Values of others, such as a provider's region, are not ours to judge.
    ours = {key: value for key, value in read_values(source).items() if key.startswith(f"{PROJECT}:")}
    PlatformSettings.load({key.removeprefix(f"{PROJECT}:"): value for key, value in ours.items()})
    found = [place_of(source)] if not roles else []
    for role in roles or ROLES:
        found += settings_of(_known(role), source)
    shown = [setting for setting in found if not changed or _is_from(setting, source)]
    output.emit([{"setting": one.key, "value": _value(one, form), "from": one.source} for one in shown], form)


def _known(role: str) -> str:
    if role not in ROLES:
        raise UserError(f'There is no role "{role}"; {hint(role, ROLES)}')
    return role


def _is_from(setting: Setting, source: Path) -> bool:
    return setting.source.partition(":")[0].endswith(source.name)


def _value(setting: Setting, form: Format) -> object:
    return output.flow(setting.value) if form is Format.TABLE else setting.value
