"""`inferstack policy` as a user sees it."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from inferstack.cli import app
from inferstack.cli.policy import rules as command
from inferstack.policy.model import Rule
from inferstack.policy.registry import find, rules

runner = CliRunner()


def test_the_list_has_every_rule() -> None:
    done = runner.invoke(app, ["policy", "list", "-o", "json"])
    assert done.exit_code == 0
    listed = json.loads(done.stdout)
    assert [row["rule"] for row in listed] == list(rules())
    assert {row["gates"] for row in listed} == {"preview", "preview, API server"}


@pytest.mark.parametrize("rule", rules().values(), ids=list(rules()))
def test_a_rule_is_explained_with_examples(rule: Rule) -> None:
    done = runner.invoke(app, ["policy", "explain", rule.id])
    assert done.exit_code == 0
    for text in (rule.title, rule.why, rule.fix, rule.good[0].title, rule.bad[0].title, *rule.config):
        assert text in done.stdout


def test_an_unknown_rule_is_told_with_the_one_that_was_meant() -> None:
    done = runner.invoke(app, ["policy", "explain", "pods-not-priviledged"])
    assert done.exit_code != 0
    assert "did you mean pods-not-privileged" in str(done.exception)


def test_examples_are_judged_rightly() -> None:
    done = runner.invoke(app, ["policy", "test"])
    assert done.exit_code == 0, done.output
    assert f"{len(rules())} rules" in done.output
    assert " 0 judged wrongly" in done.output


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> str:
    """A rule whose examples are the wrong way round."""
    rule = find("pods-not-privileged")
    turned = rule.model_copy(update={"good": rule.bad, "bad": rule.good})
    monkeypatch.setattr(command, "find", lambda _: turned)
    return rule.id


def test_a_rule_that_judges_wrongly_is_shown(broken: str) -> None:
    done = runner.invoke(app, ["policy", "test", broken, "-o", "json"])
    assert done.exit_code == 1
    assert {row["verdict"] == row["wanted"] for row in json.loads(done.stdout)} == {False}
