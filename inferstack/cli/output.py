"""How the command speaks: tables or JSON/YAML on stdout, messages on stderr, colour only where wanted."""

from __future__ import annotations

import enum
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer
import yaml
from rich.console import Console
from rich.markup import escape
from rich.table import Table

# rich itself honours NO_COLOR and a stream that is no terminal.
messages = Console(stderr=True, highlight=False, soft_wrap=True)
# A pipe has no width: there a table is as wide as its rows, so that each row is one line.
data = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 400)


class Format(enum.StrEnum):
    """Forms of the data on stdout."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


FormatOption = Annotated[Format, typer.Option("--output", "-o", help="Form of the data on stdout.")]


def say(text: str) -> None:
    """Tell the user what goes on (stderr)."""
    messages.print(escape(text))


def fail(text: str) -> None:
    """Tell the user what went wrong (stderr)."""
    messages.print(f"[bold red]error:[/] {escape(text)}")


def emit(rows: Sequence[Mapping[str, Any]], form: Format = Format.TABLE, *, title: str | None = None) -> None:
    """Print rows of equal keys: a table with the keys as its heads, or the same as JSON or YAML."""
    if form is Format.JSON:
        typer.echo(json.dumps(list(rows), indent=2, default=str))
    elif form is Format.YAML:
        typer.echo(yaml.safe_dump([dict(row) for row in rows], sort_keys=False), nl=False)
    else:
        table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
        for key in rows[0] if rows else ():
            table.add_column(key.upper(), overflow="fold")
        for row in rows:
            table.add_row(*("" if value is None else escape(str(value)) for value in row.values()))
        data.print(table)
