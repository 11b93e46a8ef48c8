"""How the command speaks: tables or JSON/YAML on stdout, messages on stderr, colour only where wanted."""

from __future__ import annotations

import enum
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.console import Console
from rich.table import Table
from rich.text import Text

from inferstack.errors import UserError

# rich itself honours NO_COLOR and a stream that is no terminal.
messages = Console(stderr=True, highlight=False, soft_wrap=True)
# A pipe has no width: there a table is as wide as its rows, so that each row is one line.
_PIPE = not sys.stdout.isatty()
data = Console(highlight=False, soft_wrap=True, width=1_000_000 if _PIPE else None)


class Format(enum.StrEnum):
    """Forms of the data on stdout."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


FormatOption = Annotated[Format, typer.Option("--output", "-o", help="Form of the data on stdout.")]


def say(text: str) -> None:
    """Tell the user what goes on (stderr)."""
    messages.print(Text(text))


def fail(text: str) -> None:
    """Tell the user what went wrong (stderr)."""
    messages.print(Text.assemble(("error:", "bold red"), " ", text))


def emit(rows: Sequence[Mapping[str, Any]], form: Format = Format.TABLE, *, title: str | None = None) -> None:
    """Print rows of equal keys: a table with the keys as its heads, or the same as JSON or YAML."""
    if form is Format.JSON:
        typer.echo(json.dumps(list(rows), indent=2, default=str))
    elif form is Format.YAML:
        typer.echo(yaml.safe_dump([dict(row) for row in rows], sort_keys=False), nl=False)
    elif rows:
        table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
        for key in rows[0]:
            table.add_column(key.upper(), overflow="fold")
        for row in rows:
            table.add_row(*(_cell(value) for value in row.values()))
        data.print(table)


def writable(file: Path) -> None:
    """Have the folder of a file that a command is to write; what is there stays until there is something to write.

    Raises:
        UserError: it cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        is_new = not file.exists()
        file.open("a").close()
        if is_new:
            file.unlink()
    except OSError as error:
        raise UserError(f"{file} cannot be written: {error.strerror}.") from error


def flow(value: object) -> str:
    """Return a value as one line of YAML, as a person would write it."""
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=sys.maxsize)
    return text.removesuffix("...\n").strip()


def _cell(value: object) -> Text:
    # Text, not markup: a value may hold brackets, backslashes or what looks like an emoji's name.
    text = "" if value is None else str(value)
    return Text(" ".join(text.splitlines()) if _PIPE else text)
