"""A page a role, each with the variables that the role reads."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, StrictInt

from components.cluster.settings import NodeGroup, Place
from components.platform.settings import ROLES
from components.quantities import Quantity
from components.settings import DnsLabel, defaults_file, variables
from tests.unit.docs.scripts import ROOT, load

FOLDER = ROOT / "docs" / "roles"
PAGES = ["platform", *ROLES]


@pytest.fixture(scope="module")
def pages() -> ModuleType:
    return load("role_pages")


@pytest.fixture
def copied(pages: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the pages that the tool takes for the project's; returns their folder."""
    shutil.copytree(FOLDER, tmp_path / "docs" / "roles")
    shutil.copy(ROOT / "Pulumi.yaml", tmp_path)
    monkeypatch.setattr(pages, "project_root", lambda: tmp_path)
    return tmp_path / "docs" / "roles"


def test_the_tables_are_current(pages: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert pages.main(["--check"]) == 0, capsys.readouterr().err


def test_each_role_has_a_page_and_no_page_is_of_nothing() -> None:
    folders = {path.parent.name for path in ROOT.glob("components/*/component.py")}
    assert folders == set(PAGES)
    assert {path.stem for path in FOLDER.glob("*.md")} == {"README", *folders}


@pytest.mark.parametrize("role", PAGES)
def test_a_page_says_all_that_a_page_says(role: str) -> None:
    text = (FOLDER / f"{role}.md").read_text()
    assert text.startswith(f"# {role}\n")
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert [heading for heading in headings if heading in ("What it makes", "Outputs", "Order", "Variables")] == [
        *("What it makes", "Outputs", "Order", "Variables"),
    ]


@pytest.mark.parametrize("role", ROLES)
def test_each_variable_is_in_its_page_with_its_whole_text(role: str) -> None:
    text = (FOLDER / f"{role}.md").read_text().partition("## Variables")[2].replace("\\", "")
    for variable in variables(role):
        (row,) = [line for line in text.splitlines() if line.startswith(f"| `{variable.path}` |")]
        assert variable.text in row


@pytest.mark.parametrize("role", ROLES)
def test_what_a_default_refers_to_is_a_heading_of_the_page(role: str) -> None:
    comments = " ".join(line.strip("# ") for line in defaults_file(role).read_text().splitlines())
    headings = re.findall(r"^### (.*)$", (FOLDER / f"{role}.md").read_text(), re.MULTILINE)
    assert set(re.findall(r'see "([^"]+)" below', comments)) <= set(headings)


@pytest.mark.parametrize("role", PAGES)
def test_links_within_a_page_lead_to_a_heading(role: str) -> None:
    text = (FOLDER / f"{role}.md").read_text()
    anchors = {heading.lower().replace(" ", "-") for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= anchors


def test_every_title_is_of_a_model_that_a_page_shows(pages: ModuleType) -> None:
    shown = "\n".join(pages.make_table(role) for role in PAGES)
    assert all(f"### {title}\n" in shown for title in pages.TITLES.values())


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        (bool, "true or false"),
        (str | None, "string or null"),
        (DnsLabel, "name"),
        (DnsLabel | None, "name or null"),
        (Quantity, "quantity"),
        (Place, "`local` or `existing` or `aws`"),
        (Literal["a", "b"], "`a` or `b`"),
        (Annotated[StrictInt, Field(ge=0, le=5)], "integer, 0 to 5"),
        (Annotated[StrictInt, Field(ge=0)], "integer, 0 or more"),
        (Annotated[tuple[DnsLabel, ...], Field(min_length=1)], "list of names"),
        (list[dict[str, Any]], "list of mapping of strings to anything"),
        (dict[DnsLabel, NodeGroup], "mapping of names to [a group of nodes](#a-group-of-nodes)"),
    ],
)
def test_types_in_words(pages: ModuleType, hint: Any, words: str) -> None:
    assert pages.describe(hint) == words


def test_a_table_has_the_models_that_its_variables_hold(pages: ModuleType) -> None:
    class Inner(BaseModel):
        """An inner one."""

    class MiddleOne(BaseModel):
        """A middle one."""

        inner: dict[str, list[Inner]]

    assert list(pages.models_in(dict[str, MiddleOne] | None)) == [MiddleOne]
    assert pages.title(MiddleOne) == "A middle one"


def test_only_what_is_between_the_markers_is_written(pages: ModuleType) -> None:
    assert pages.filled("a\n<b>\nold\n<e>\nz", "<b>", "<e>", "new") == "a\n<b>\nnew\n<e>\nz"
    for text in ("a", "a <b>", "a <e>"):
        with pytest.raises(ValueError, match="are missing"):
            pages.filled(text, "<b>", "<e>", "new")


def test_a_page_that_is_not_current_is_named_and_mended(
    pages: ModuleType, copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = copied / "gpu.md"
    good = page.read_text()
    page.write_text(good.replace("| `mig.strategy` |", "| `mig.strategyy` |"))
    assert pages.main(["--check"]) == 1
    assert capsys.readouterr().err == (
        "docs/roles/gpu.md: the table is not current; run `python tools/role_pages.py`\n"
    )
    assert pages.main([]) == 0
    assert page.read_text() == good
    assert pages.main(["--check"]) == 0


@pytest.mark.parametrize("arguments", [[], ["--check"]])
def test_a_page_that_is_missing_is_named(
    pages: ModuleType, copied: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    (copied / "addon.md").unlink()
    (copied / "README.md").write_text("# Roles\n")
    assert pages.main(arguments) == 1
    messages = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in messages] == ["docs/roles/addon.md", "docs/roles/README.md"]
    assert not (copied / "addon.md").exists()
