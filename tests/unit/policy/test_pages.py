"""A page a rule, and the table of all rules, as the tool writes them."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import ModuleType
from typing import get_args

import pytest
import yaml

from inferstack.policy.model import Rule
from inferstack.policy.pages import explain
from inferstack.policy.registry import rules
from tests.unit.docs.scripts import ROOT, load

FOLDER = ROOT / "docs" / "policies"


@pytest.fixture(scope="module")
def pages() -> ModuleType:
    return load("policy_pages")


def test_generated_pages_are_current(pages: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert pages.main(["--check"]) == 0, capsys.readouterr().err
    assert {path.stem for path in FOLDER.glob("*.md")} == {"README", *rules()}


def test_each_rule_is_once_in_the_table_of_its_category(pages: ModuleType) -> None:
    assert set(pages.CATEGORIES) == set(get_args(Rule.model_fields["category"].annotation))
    text = (FOLDER / "README.md").read_text()
    for rule in rules().values():
        table = text.partition(f"\n## {pages.CATEGORIES[rule.category]}\n")[2].partition("\n## ")[0]
        assert table.count(f"| [{rule.id}]({rule.id}.md) | {rule.title} | {rule.severity.value} |") == 1


@pytest.mark.parametrize("rule", list(rules().values()), ids=list(rules()))
def test_page_shows_the_first_examples_of_its_rule(rule: Rule) -> None:
    blocks = explain(rule).split("```yaml\n")[1:]
    shown = [list(yaml.safe_load_all(block.partition("```")[0])) for block in blocks]
    assert shown == [list(rule.good[0].resources), list(rule.bad[0].resources)]


def test_outdated_pages_are_reported_and_regenerated(
    pages: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "docs" / "policies"
    shutil.copytree(FOLDER, folder)
    monkeypatch.setattr(pages, "project_root", lambda: tmp_path)
    good = (folder / "canary-before-all.md").read_text()
    (folder / "canary-before-all.md").write_text(good.replace("**Rationale.**", "**Because.**"))
    (folder / "images-not-latest.md").unlink()
    (folder / "no-such-rule.md").write_text("# no-such-rule\n")
    assert pages.main(["--check"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "docs/policies/canary-before-all.md: is not current; run `python tools/policy_pages.py`",
        "docs/policies/images-not-latest.md: is not current; run `python tools/policy_pages.py`",
        "docs/policies/no-such-rule.md: there is no such rule; run `python tools/policy_pages.py`",
    ]
    assert pages.main([]) == 0
    assert pages.main(["--check"]) == 0
    assert (folder / "canary-before-all.md").read_text() == good
    assert not (folder / "no-such-rule.md").exists()


def test_missing_table_markers_are_an_error(
    pages: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "docs" / "policies").mkdir(parents=True)
    (tmp_path / "docs" / "policies" / "README.md").write_text("# Rules\n")
    monkeypatch.setattr(pages, "project_root", lambda: tmp_path)
    assert pages.main([]) == 1
    assert "are missing" in capsys.readouterr().err
