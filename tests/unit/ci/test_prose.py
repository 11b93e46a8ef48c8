"""The check of the wording: what it reports, and that the checked paths are clean."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tools import prose

WORDS = {"phrases": {"in order": "drop it"}, "variables": {"tmp": "result"}}


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ('"""Sorted in order."""\n', [1]),
        ("x = 1\n# it is in\n# turn\n", []),
        ("tmp = 1\n", [1]),
        ("for tmp in ():\n    pass\n", [1]),
        ("def f(tmp: int) -> int:\n    return tmp\n", [1]),
        ("x = f'{1} in order'\n", [1]),
        ('"""First line.\n\nIt is in\norder here.\n"""\n', [3]),
        ("in_order = tmp_path = 1\n", []),
    ],
)
def test_python_issues_have_their_lines(source: str, lines: list[int]) -> None:
    assert [issue.line for issue in prose.check_python(source, WORDS)] == lines


def test_markdown_is_checked_for_phrases_only(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("tmp = 1\n\nThis is in order.\n")

    assert prose.check_file(page, WORDS) == [prose.Issue(3, "in order", "drop it")]


def test_exit_status_and_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = tmp_path / "words.yaml"
    words.write_text(yaml.safe_dump(WORDS))
    monkeypatch.setattr(prose, "_LIST", words)
    page = tmp_path / "page.md"
    page.write_text("It is in order.\n")

    assert prose.main([str(tmp_path)]) == 1
    assert capsys.readouterr().out == f'{page}:1: "in order": write drop it\n'
    page.write_text("It holds.\n")
    assert prose.main([str(tmp_path)]) == 0


def test_missing_path_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        prose.main([str(tmp_path / "none")])


def test_listed_paths_are_clean(capsys: pytest.CaptureFixture[str]) -> None:
    assert prose.main([]) == 0, capsys.readouterr().out
