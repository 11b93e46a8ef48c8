"""The comment on a pull request."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.ci.scripts import FOLDER, load

comment: ModuleType = load("comment")


def report(stack: str = "dev", **parts: Any) -> dict[str, Any]:
    """Return a report as ``inferstack preview --report`` writes it."""
    cost = {"before": 0, "after": 0, "items": [], "unknown": []}
    return {
        "stack": stack,
        "counts": {},
        "changes": [],
        "findings": [],
        "rules": 9,
        "errors": [],
        "cost": cost,
        **parts,
    }


def change(op: str, name: str) -> dict[str, Any]:
    return {"op": op, "type": "aws:eks/nodeGroup:NodeGroup", "name": name, "paths": ["scalingConfig.maxSize"]}


def make_finding(rule: str, level: str = "advisory") -> dict[str, str]:
    return {"level": level, "severity": "high", "rule": rule, "resource": "r", "message": "wrong"}


words = st.text(st.characters(codec="utf-8"), max_size=300)
changes = st.lists(
    st.fixed_dictionaries(
        {"op": st.sampled_from(["create", "update", "replace", "delete"]), "type": words, "name": words}
    ).map(lambda entry: {**entry, "paths": [entry["name"]]}),
    max_size=30,
)


@given(changes, words, st.integers(min_value=600, max_value=70_000))
@settings(max_examples=60, deadline=None)
def test_comment_has_marker_and_stays_within_limit(changes: list[dict[str, Any]], error: str, limit: int) -> None:
    text = comment.render([report(changes=changes, errors=[error])] * 3, limit)
    assert len(text) <= limit
    assert text.startswith(comment.MARKER)
    assert text.count("<details>") == text.count("</details>") or "(cut:" in text


@given(words)
@settings(max_examples=80, deadline=None)
def test_text_is_escaped_in_table_cells(word: str) -> None:
    finding = {"level": "mandatory", "severity": word, "rule": word, "resource": word, "message": word}
    lines = comment.render([report(findings=[finding])]).splitlines()
    (row,) = [line for line in lines if line.startswith("| mandatory")]
    assert row.replace("\\|", "").count("|") == 6
    assert "<script" not in row
    assert "@" not in row.replace("@\u200b", "").replace("`", "") or "`" in row


def test_many_changes_are_folded_and_few_are_not() -> None:
    few = comment.render([report(changes=[change("create", str(index)) for index in range(comment.FOLD)])])
    many = comment.render([report(changes=[change("create", str(index)) for index in range(comment.FOLD + 1)])])
    assert "<details>" not in few
    assert "<summary>11 changes</summary>" in many


def test_deletions_are_kept_when_comment_is_cut() -> None:
    changes = [*(change("create", f"new-{index}") for index in range(2000)), change("delete", "the-database")]
    text = comment.render([report(changes=changes)])
    assert len(text) <= comment.LIMIT
    assert "the-database" in text
    assert "more are in the job's artifacts" in text


def test_comment_shows_cost_before_and_after_and_unpriced_resources() -> None:
    cost = {
        "before": 1000.4,
        "after": 161_718.6,
        "items": [{"what": "h100", "usd": 161_718.6}],
        "unknown": ["x: 1 x p5e"],
    }
    text = comment.render([report(cost=cost)])
    assert "| 1,000 | ≥ 161,719 | +160,718 |" in text
    assert "Without a price: `x: 1 x p5e`" in text
    assert "estimates" in text


@pytest.mark.parametrize(
    "secret",
    [
        "AKIA" + "ABCDEFGHIJKLMNOP",
        "ghp_" + "a" * 36,
        "glpat-" + "b" * 20,
        "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----",
        "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc",
    ],
)
def test_credentials_are_redacted(secret: str) -> None:
    finding = {**make_finding("no-plain-secrets"), "resource": secret, "message": f"{secret} is plain"}
    leaky = {**change("create", secret), "paths": [secret]}
    text = comment.render([report(findings=[finding], errors=[f"said {secret}"], changes=[leaky])])
    assert "[hidden]" in text
    assert secret.splitlines()[0][:24] not in text
    assert "MIIEow" not in text


def test_missing_report_is_shown() -> None:
    assert "No stack could be previewed" in comment.render([])
    text = comment.render([report("dev")], expected=["prod", "dev"])
    assert "- **no report** of `prod`" in text
    assert "no report** of `dev`" not in text


def test_no_findings_differs_from_no_policy_run() -> None:
    assert "| 0 by 9 rules |" in comment.render([report()])
    assert "| **not judged** |" in comment.render([report(rules=0)])
    both = [make_finding("a"), make_finding("b", "mandatory")]
    assert "| 2 (1 mandatory) by 9 rules |" in comment.render([report(findings=both)])


def test_table_follows_empty_line() -> None:
    reports = [
        report(findings=[make_finding("a")], errors=["x"], changes=[change("create", "n")]),
        report("prod", errors=["y"]),
    ]
    lines = comment.render(reports, expected=["gone"]).splitlines()
    heads = [index for index, line in enumerate(lines) if set(line) == {"|", "-"}]
    assert len(heads) == 3
    assert all(lines[index - 2] == "" for index in heads)


def test_mandatory_findings_are_kept_when_comment_is_cut() -> None:
    findings = [*(make_finding(f"rule-{index}") for index in range(2000)), make_finding("the-worst", "mandatory")]
    text = comment.render([report(findings=findings)])
    assert len(text) <= comment.LIMIT
    assert "| mandatory | high | `the-worst` | `r` | wrong |" in text
    assert "more findings are in the job's artifacts" in text


class Api:
    """Comments of a pull request, as GitHub's API serves them."""

    def __init__(self, *comments: dict[str, Any]) -> None:
        self.comments = list(comments)
        self.calls: list[tuple[str, str, Any]] = []

    def __call__(self, method: str, path: str, content: dict[str, str] | None) -> Any:
        self.calls.append((method, path, content))
        return self.comments if path.endswith("page=1") else []


def make_comment(identity: int, kind: str, body: str) -> dict[str, Any]:
    return {"id": identity, "body": body, "user": {"type": kind}}


def test_own_comment_is_updated_and_others_are_kept() -> None:
    bot, person = make_comment(7, "Bot", f"{comment.MARKER}\nold"), make_comment(6, "User", f"{comment.MARKER}\nmine")
    api = Api(person, bot)
    assert comment.post("new", "o/r", 12, api) == "updated"
    assert api.calls[-1] == ("PATCH", "/repos/o/r/issues/comments/7", {"body": "new"})


def test_first_comment_is_created() -> None:
    api = Api(make_comment(1, "Bot", "another pipeline's"))
    assert comment.post("new", "o/r", 12, api) == "created"
    assert api.calls[-1] == ("POST", "/repos/o/r/issues/12/comments", {"body": "new"})


def test_command_writes_comment_and_names_missing_reports(tmp_path: Path) -> None:
    (tmp_path / "preview-dev").mkdir()
    (tmp_path / "preview-dev" / "dev.json").write_text(json.dumps(report()))
    call = [sys.executable, str(FOLDER / "comment.py"), str(tmp_path)]
    done = subprocess.run([*call, "--to", str(tmp_path / "c.md")], check=True, env={}, capture_output=True)
    assert done.stdout == b""
    assert "#### `dev`" in (tmp_path / "c.md").read_text()
    failed = subprocess.run([*call, "--post"], check=False, env={"PR_NUMBER": "1"}, capture_output=True, text=True)
    assert failed.returncode == 2
    assert "GITHUB_TOKEN must be set" in failed.stderr
