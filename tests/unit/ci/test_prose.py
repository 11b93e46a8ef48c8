"""The check of the wording: what it reports, and that the checked paths are clean."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import prose

WORDS = {"phrases": {"is told": "is reported"}, "variables": {"found": "result"}}


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ('"""What is told."""\n', [1]),
        ("x = 1\n# it is\n# clean\n", []),
        ("found = 1\n", [1]),
        ("for found in ():\n    pass\n", [1]),
        ("def f(found: int) -> int:\n    return found\n", [1]),
        ("x = f'{1} is told'\n", [1]),
        ('"""First line.\n\nIt is\ntold here.\n"""\n', [3]),
        ("is_told = profound = 1\n", []),
    ],
)
def test_python_issues_have_their_lines(source: str, lines: list[int]) -> None:
    assert [issue.line for issue in prose.check_python(source, WORDS)] == lines


def test_markdown_is_checked_for_phrases_only(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("found = 1\n\nThis is told.\n")

    assert prose.check_file(page, WORDS) == [prose.Issue(3, "is told", "is reported")]


def test_exit_status_and_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text("Tell whether it holds.\n")

    assert prose.main([str(tmp_path)]) == 1
    assert capsys.readouterr().out == f'{page}:1: "Tell whether": write Return whether\n'
    page.write_text("Return whether it holds.\n")
    assert prose.main([str(tmp_path)]) == 0


def test_missing_path_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        prose.main([str(tmp_path / "none")])


def test_listed_paths_are_clean(capsys: pytest.CaptureFixture[str]) -> None:
    assert prose.main([]) == 0, capsys.readouterr().out
