"""Output of the commands: tables, JSON or YAML on stdout, messages on stderr, colour only on a terminal.

rich and PyYAML are imported when something is printed, so that ``--help`` does without them.
"""

from __future__ import annotations

import enum
import functools
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from inferstack.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text


class Format(enum.StrEnum):
    """Output formats."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


FormatOption = Annotated[Format, typer.Option("--output", "-o", help="Output format.")]


@functools.cache
def messages() -> Console:
    """Return the console for messages; rich honours NO_COLOR and a stream that is not a terminal."""
    from rich.console import Console  # noqa: PLC0415  # see the module's docstring

    return Console(stderr=True, highlight=False, soft_wrap=True)


@functools.cache
def data() -> Console:
    """Return the console for tables; in a pipe a table is as wide as its rows, so that each row is one line."""
    from rich.console import Console  # noqa: PLC0415  # see the module's docstring

    return Console(highlight=False, soft_wrap=True, width=1_000_000 if _is_pipe() else None)


def say(text: str) -> None:
    """Print a message to stderr."""
    from rich.text import Text  # noqa: PLC0415  # see the module's docstring

    messages().print(Text(text))


def fail(text: str) -> None:
    """Print an error to stderr."""
    from rich.text import Text  # noqa: PLC0415  # see the module's docstring

    messages().print(Text.assemble(("error:", "bold red"), " ", text))


def emit(rows: Sequence[Mapping[str, Any]], form: Format = Format.TABLE, *, title: str | None = None) -> None:
    """Print rows with equal keys: a table with the keys as headings, or JSON or YAML."""
    if form is Format.JSON:
        typer.echo(json.dumps(list(rows), indent=2, default=str))
    elif form is Format.YAML:
        import yaml  # noqa: PLC0415  # see the module's docstring

        typer.echo(yaml.safe_dump([dict(row) for row in rows], sort_keys=False), nl=False)
    elif rows and _is_pipe() and not title:
        typer.echo(_plain_table(rows), nl=False)
    elif rows:
        from rich.table import Table  # noqa: PLC0415  # see the module's docstring

        table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
        for key in rows[0]:
            table.add_column(key.upper(), overflow="fold")
        for row in rows:
            table.add_row(*(_cell(value) for value in row.values()))
        data().print(table)


def writable(file: Path) -> None:
    """Create the folder of an output file and check that the file can be written; its content stays.

    Raises:
        UserError: the file cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        is_new = not file.exists()
        file.open("a").close()
        if is_new:
            file.unlink()
    except OSError as error:
        raise UserError(f"{file}: cannot be written ({error.strerror}).") from error


def flow(value: object) -> str:
    """Return a value as one line of YAML in flow style."""
    from inferstack.apimachinery import yamltext  # noqa: PLC0415  # see the module's docstring

    return yamltext.format_flow(value)


def _plain_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the table as rich prints it into a pipe, each row on one line; rich takes longer than most commands."""
    from rich.cells import cell_len  # noqa: PLC0415  # see the module's docstring

    lines = [[key.upper() for key in rows[0]], *([_one_line(value) for value in row.values()] for row in rows)]
    widths = [max(map(cell_len, column)) for column in zip(*lines, strict=True)]

    def pad(cell: str, width: int) -> str:
        return cell + " " * (width - cell_len(cell))

    return "".join("  ".join(map(pad, line, widths)) + "\n" for line in lines)


def _is_pipe() -> bool:
    return not sys.stdout.isatty()


def _cell(value: object) -> Text:
    from rich.text import Text  # noqa: PLC0415  # see the module's docstring

    # Text, not markup: a value may contain brackets, backslashes or what looks like the name of an emoji.
    return Text(_one_line(value) if _is_pipe() else _text(value))


def _one_line(value: object) -> str:
    return " ".join(_text(value).splitlines())


def _text(value: object) -> str:
    return "" if value is None else str(value)
