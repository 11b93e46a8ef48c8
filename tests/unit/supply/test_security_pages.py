"""What the pages on security name is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.unit.ci.pipelines import command

ROOT = Path(__file__).parents[3]
PAGES = [
    ROOT / "SECURITY.md",
    *(ROOT / "docs" / f"{name}.md" for name in ("pipelines", "supply-chain", "threat-model")),
]
_PATH = re.compile(r"`((?:\.?[\w.-]+/)+[\w.-]+\.(?:py|yaml|yml|md|lock|sum))`")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_file_that_a_page_names_is_there(page: Path) -> None:
    assert [path for path in _PATH.findall(page.read_text()) if not (ROOT / path).is_file()] == []


def test_each_threat_names_the_file_that_holds_its_mitigation() -> None:
    text = (ROOT / "docs" / "threat-model.md").read_text()
    rows = re.findall(r"^\| [STRIDE] \|.*", text, re.MULTILINE)
    assert [row for row in rows if not _PATH.search(row)] == []
    assert {row[2] for row in rows} == set("STRIDE")


def test_each_command_on_the_pages_is_there() -> None:
    lines = {
        line.partition("#")[0].strip()
        for page in PAGES
        for line in re.findall(r"^    (inferstack .*|make .*)$", page.read_text(), re.MULTILINE)
    }
    assert len(lines) >= 5
    wrong = {line: list(command(line.replace("inferstack", ".venv/bin/inferstack", 1))) for line in lines}
    assert {line: problems for line, problems in wrong.items() if problems} == {}
