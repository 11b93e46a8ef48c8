"""``inferstack settings``: the effective settings of a stack and their sources."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from components.platform.settings import ROLES, PlatformSettings
from components.provenance import Setting, place_of, settings_of
from components.settings import PROJECT
from inferstack.cli import output
from inferstack.cli.options import StackOption
from inferstack.cli.output import Format, FormatOption
from inferstack.cli.stack.configuration import read_values, stack_file
from inferstack.errors import UserError, hint

RolesArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[ROLE]...", help="Roles to show, such as gpu (default: all).")
]
ChangedOption = Annotated[bool, typer.Option("--changed", help="Show only settings of the stack itself.")]


def settings(
    roles: RolesArgument = None,
    stack: StackOption = "local",
    changed: ChangedOption = False,
    form: FormatOption = Format.TABLE,
) -> None:
    """Show the effective settings of a stack and their sources.

    The source of a setting is a file and line. Invalid settings are refused.
    """
    source = stack_file(stack)
    # Values of other namespaces, such as a provider's region, are not validated.
    prefix = f"{PROJECT}:"
    values = read_values(source)
    PlatformSettings.load({key.removeprefix(prefix): values[key] for key in values if key.startswith(prefix)})
    settings = [place_of(source)] if not roles else []
    for role in roles or ROLES:
        if role not in ROLES:
            raise UserError(f'There is no role "{role}"; {hint(role, ROLES)}')
        settings += settings_of(role, source)
    rows = [
        {"setting": setting.key, "value": _value(setting, form), "from": setting.source}
        for setting in settings
        if not changed or _is_from(setting, source)
    ]
    output.emit(rows, form)


def _is_from(setting: Setting, source: Path) -> bool:
    return setting.source.partition(":")[0].endswith(source.name)


def _value(setting: Setting, form: Format) -> object:
    return output.flow(setting.value) if form is Format.TABLE else setting.value
