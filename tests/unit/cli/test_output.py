"""How rows and messages are printed: into a pipe, on a terminal, as data."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console
from rich.table import Table
from rich.text import Text

from inferstack.cli import output
from inferstack.cli.output import Format
from inferstack.project import project_root

ROWS = [{"name": "a", "count": 1, "path": None}, {"name": "[red]b[/]", "count": 20, "path": Path("/x")}]
# What a console of rich reads as its own: markup, an escaped bracket, an emoji.
ODD = ["[bold]text[/]", "[/nothing]", "a\\", "\\[x]", "arn:key:lock:"]

PRINT = """
import json, sys
from inferstack.cli import output
output.emit(json.loads(sys.argv[1]))
"""
SPEAK = """
import sys
from inferstack.cli import output
output.say(sys.argv[1])
output.fail(sys.argv[1])
"""


def run(script: str, argument: str) -> subprocess.CompletedProcess[str]:
    """Run a script with both streams in pipes."""
    return subprocess.run(
        [sys.executable, "-c", script, argument], cwd=project_root(), capture_output=True, text=True, check=True
    )


def run_on_terminal(script: str, argument: str, **environment: str) -> str:
    """Run a script on a terminal of 80 columns and return what that would show."""
    inherited = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", closefd=True) as shown:
        process = subprocess.Popen(
            [sys.executable, "-c", script, argument],
            cwd=project_root(),
            env={**inherited, "TERM": "xterm-256color", "COLUMNS": "80", **environment},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        text = b""
        try:
            while part := shown.read1():
                text += part
        except OSError:
            pass  # how a terminal says on Linux that nobody writes any more
        assert process.wait() == 0, text
    return text.decode().replace("\r\n", "\n")


def lines(text: str) -> list[list[str]]:
    """Return the cells of a table; none may hold two spaces in a row."""
    return [line.rstrip().split("  ") for line in text.splitlines()]


def test_a_table_has_the_keys_as_heads_and_values_as_they_are() -> None:
    rows = [{"value": odd, "n": index} for index, odd in enumerate(ODD)] + [{"value": None, "n": "last"}]
    table = run(PRINT, json.dumps(rows)).stdout

    cells = [[cell.strip() for cell in line if cell] for line in lines(table)]
    assert cells == [["VALUE", "N"], *([odd, str(index)] for index, odd in enumerate(ODD)), ["last"]]


@pytest.mark.parametrize("value", ["word " * 300, "x" * 2000, "two\nlines\r\nand more"], ids=["words", "long", "lines"])
def test_in_a_pipe_a_row_is_one_line(value: str) -> None:
    table = run(PRINT, json.dumps([{"a": 1, "message": value}, {"a": 2, "message": ""}])).stdout

    head, row, last = table.splitlines()
    assert head.split() == ["A", "MESSAGE"]
    assert row.split() == ["1", *value.split()]
    assert last.split() == ["2"]


def test_on_a_terminal_a_long_value_is_folded_and_nothing_is_cut_off() -> None:
    shown = run_on_terminal(PRINT, json.dumps([{"a": 1, "message": "x" * 200}]), NO_COLOR="1")

    shown = re.sub(r"\x1b\[\d*m", "", shown)  # the head is bold
    assert shown.count("x") == 200
    assert max(map(len, shown.splitlines())) <= 80


def test_no_rows_are_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    output.emit([])
    assert capsys.readouterr() == ("", "")
    output.emit([], Format.JSON)
    assert json.loads(capsys.readouterr().out) == []
    output.emit([], Format.YAML)
    assert yaml.safe_load(capsys.readouterr().out) == []


@pytest.mark.parametrize("form", [Format.JSON, Format.YAML])
def test_data_holds_the_rows_with_their_types_and_order(form: Format, capsys: pytest.CaptureFixture[str]) -> None:
    rows: list[dict[str, Any]] = [{"z": "[red]b[/]", "a": None, "n": 2}, {"z": "x" * 500, "a": {"k": [1]}, "n": 1.5}]
    output.emit(rows, form)

    text = capsys.readouterr().out
    parsed = json.loads(text) if form is Format.JSON else yaml.safe_load(text)
    assert parsed == rows
    assert [list(row) for row in parsed] == [["z", "a", "n"]] * 2
    assert text.endswith("\n")
    assert not text.endswith("\n\n")


def test_json_writes_what_is_no_json_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    output.emit(ROWS, Format.JSON)

    assert json.loads(capsys.readouterr().out)[1] == {"name": "[red]b[/]", "count": 20, "path": "/x"}


@pytest.mark.parametrize("text", [*ODD, "word " * 100 + "end", "two\nlines"])
def test_messages_go_to_stderr_as_they_are(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    output.say(text)
    output.fail(text)

    assert capsys.readouterr() == ("", f"{text}\nerror: {text}\n")


def test_colour_is_for_terminals_where_it_is_wanted() -> None:
    red = "\x1b[1;31merror:\x1b[0m "
    assert red in run_on_terminal(SPEAK, "text")
    without = run_on_terminal(SPEAK, "text", NO_COLOR="1")
    assert "31m" not in without
    assert "error:" in without
    assert "\x1b" not in run(SPEAK, "text").stderr


def test_table_in_a_pipe_equals_the_one_of_rich() -> None:
    rows: list[dict[str, Any]] = [
        {"name": "模型", "n": 1, "message": "two\nlines"},
        {"name": "e\u0301", "n": None, "message": "[b]x[/b]"},
    ]
    table = Table(box=None, pad_edge=False)
    for key in rows[0]:
        table.add_column(key.upper())
    for row in rows:
        table.add_row(*(Text("" if value is None else " ".join(str(value).splitlines())) for value in row.values()))
    buffer = io.StringIO()
    Console(file=buffer, width=1000, force_terminal=False).print(table)
    assert run(PRINT, json.dumps(rows)).stdout == buffer.getvalue()
