"""Commands that import their module only when they run."""

from __future__ import annotations

import functools
import importlib
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from inferstack.cli.registry import COMMANDS, GROUPS, SECTIONS, Entry

CONTEXT = {"help_option_names": ["-h", "--help"]}
_PASSING = {"ignore_unknown_options": True, "help_option_names": []}


class LazyCommand(TyperCommand):
    """A command known by its name and help line until it is parsed."""

    def __init__(self, entry: Entry) -> None:
        super().__init__(entry.path.rpartition(" ")[2], help=entry.help, rich_markup_mode=None)
        self._entry = entry

    @functools.cached_property
    def loaded(self) -> TyperCommand:
        """The command itself, from its module."""
        module, _, function = self._entry.target.partition(":")
        app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
        app.command(self.name, context_settings=_PASSING if self._entry.passes_options else CONTEXT)(
            getattr(importlib.import_module(f"inferstack.cli.{module}"), function)
        )
        command = typer.main.get_command(app)
        assert isinstance(command, TyperCommand)  # noqa: S101  # one function makes one command
        return command

    def make_context(self, *args: Any, **more: Any) -> Any:
        """Return the context of the command itself: click invokes the command that a context names."""
        return self.loaded.make_context(*args, **more)


class RootGroup(TyperGroup):
    """The command ``inferstack``, with its sub-commands in sections."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        groups = {group.name: _group(group.name, group.help) for group in GROUPS}
        leaves = {entry.path: LazyCommand(entry) for entry in COMMANDS}
        self.commands = {name: groups.get(name) or leaves[name] for names in SECTIONS.values() for name in names}

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002  # of the base class
        """Write the sub-commands, a list for each section."""
        width = max(map(len, self.commands))
        for section, names in SECTIONS.items():
            with formatter.section(section):
                formatter.write_dl([(name.ljust(width), self.commands[name].get_short_help_str(80)) for name in names])


def _group(name: str, text: str) -> TyperGroup:
    return TyperGroup(
        name=name,
        help=text,
        no_args_is_help=True,
        rich_markup_mode=None,
        context_settings=CONTEXT,
        commands=[LazyCommand(entry) for entry in COMMANDS if entry.path.startswith(f"{name} ")],
    )
