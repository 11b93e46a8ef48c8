"""The documents say what the code says, and their links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest

from tests.unit.docs.scripts import ROOT, load

DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


@pytest.fixture(scope="module")
def picture() -> ModuleType:
    return load("picture")


def test_the_picture_is_current(picture: ModuleType) -> None:
    assert picture.main(["--check"]) == 0


def test_the_picture_follows_the_platforms_order(picture: ModuleType) -> None:
    source = "a = A('a')\nb = B('b', opts=after(*a.nodes))\nc = C('c', opts=after(a, b))\n"
    assert picture.role_order(source) == [("a", []), ("b", ["a"]), ("c", ["a", "b"])]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", document.read_text()):
        if "://" not in target:
            assert (document.parent / target).exists(), f"{document.name} links to {target}, which is not there"


def test_no_path_of_a_machine_is_written_down() -> None:
    marks = ("/root" + "/", "/home" + "/", "/work" + "/")
    for path in [*DOCUMENTS, *ROOT.glob("inferstack/**/*.py"), *ROOT.glob("components/**/*"), ROOT / "Makefile"]:
        if path.is_file() and path.suffix in {".md", ".py", ".yaml", ""}:
            text = path.read_text()
            assert not [mark for mark in marks if mark in text], path
