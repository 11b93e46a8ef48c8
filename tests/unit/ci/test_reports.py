"""Reports of previews and drift, from the engine's events."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from inferstack.cli.output import Format
from inferstack.cli.stack.drift import find
from inferstack.cli.stack.preview_report import make_report

GROUP = "aws:eks/nodeGroup:NodeGroup"
CANARY = "canary-5d1f"


def urn(name: str, token: str = GROUP) -> str:
    return f"urn:pulumi:prod::inferstack::{token}::{name}"


def step(op: str, name: str, old: Any = None, new: Any = None, token: str = GROUP, **more: Any) -> dict[str, Any]:
    """Return the event that the engine writes before a step."""
    states = {key: {"type": token, "inputs": value} for key, value in (("old", old), ("new", new)) if value is not None}
    return {"resourcePreEvent": {"metadata": {"op": op, "urn": urn(name, token), "type": token, **states, **more}}}


def nodes(number: int) -> dict[str, Any]:
    return {"instanceTypes": ["p5.48xlarge"], "scalingConfig": {"desiredSize": number}, "tags": {"note": CANARY}}


def test_changes_are_counted_once_and_named_without_values() -> None:
    report = make_report(
        "prod",
        [
            step("same", "stays", nodes(1), nodes(1)),
            step("update", "grows", nodes(1), nodes(2), detailedDiff={"scalingConfig.desiredSize": {}}),
            step("create-replacement", "new", nodes(1), nodes(1)),
            step("replace", "new", nodes(1), nodes(1), diffs=["nodeRoleArn"]),
            step("delete-replaced", "new", nodes(1)),
            step("delete", "goes", nodes(1)),
        ],
    )
    assert report.counts == {"same": 1, "update": 1, "replace": 1, "delete": 1}
    assert [(change.op, change.name, change.paths) for change in report.changes] == [
        ("update", "grows", ("scalingConfig.desiredSize",)),
        ("replace", "new", ("nodeRoleArn",)),
        ("delete", "goes", ()),
    ]
    assert CANARY not in json.dumps(report.content())


def test_report_has_cost_before_and_after() -> None:
    report = make_report(
        "prod",
        [
            step("same", "stays", nodes(1), nodes(1)),
            step("update", "grows", nodes(1), nodes(3)),
            step("delete", "goes", nodes(2)),
            step("create", "comes", None, nodes(1)),
            step("create-replacement", "new", nodes(1), nodes(1)),
            step("delete-replaced", "new", nodes(1)),
        ],
    )
    of_one = 55.04 * 730
    assert round(report.before.usd / of_one, 6) == 1 + 1 + 2 + 1
    assert round(report.after.usd / of_one, 6) == 1 + 3 + 1 + 1
    assert report.content()["cost"]["unknown"] == []


def test_findings_and_errors_are_deduplicated() -> None:
    violation = {
        "resourceUrn": urn("h100"),
        "message": "<{%fg 1%}>too dear<{%reset%}>\n",
        "policyName": "monthly-cost-cap",
        "enforcementLevel": "mandatory",
        "severity": "medium",
    }
    error = {"diagnosticEvent": {"severity": "error", "message": "<{%reset%}>no such thing\n"}}
    note = {"diagnosticEvent": {"severity": "info", "message": "hello"}}
    report = make_report("prod", [{"policyEvent": violation}, error, error, note])
    (finding,) = report.findings
    assert asdict(finding) == {
        "rule": "monthly-cost-cap",
        "level": "mandatory",
        "severity": "medium",
        "resource": "h100",
        "message": "too dear",
    }
    assert report.errors == ("no such thing",)


def test_report_lists_evaluated_rules() -> None:
    summary = {"policyAnalyzeSummaryEvent": {"resourceUrn": urn("a"), "passed": ["b", "a"], "failed": ["c"]}}
    whole = {"policyAnalyzeStackSummaryEvent": {"passed": ["d"]}}
    report = make_report("prod", [summary, summary, whole, {"policyAnalyzeStackSummaryEvent": {}}])
    assert report.rules == ("a", "b", "c", "d")
    assert report.content()["rules"] == 4
    assert make_report("prod", []).content()["rules"] == 0


def test_remediation_is_reported_without_values() -> None:
    mended = {
        "resourceUrn": urn("h100"),
        "policyName": "aws-resources-tagged",
        "before": {"name": "x", "tags": {}},
        "after": {"name": "x", "tags": {"note": CANARY}},
    }
    report = make_report("prod", [{"policyRemediationEvent": mended}])
    (finding,) = report.findings
    assert (finding.level, finding.resource, finding.message) == ("remediate", "h100", "sets tags")
    assert CANARY not in json.dumps(report.content())


def result(op: str, name: str, old: Any = None, **diff: str) -> dict[str, Any]:
    """Return the event that the engine writes after a step."""
    details = {path.replace("_", "."): {"diffKind": kind} for path, kind in diff.items()}
    metadata = {"op": op, "urn": urn(name), "type": GROUP, "old": {"inputs": old or {}}, "detailedDiff": details}
    return {"resOutputsEvent": {"metadata": metadata}}


def test_changed_and_deleted_resources_are_drift() -> None:
    drifts = find(
        [result("same", "a"), result("update", "b", {"x": 1}, x="update"), result("delete", "c"), {"other": {}}]
    )
    assert [(drift.what, drift.name, drift.paths) for drift in drifts] == [("changed", "b", ("x",)), ("gone", "c", ())]


def test_drift_has_text_and_json_form() -> None:
    (drift,) = find([result("update", "b", {}, x="update", y="update")])
    assert drift.row()["properties"] == "x, y"
    assert drift.row(Format.JSON)["properties"] == ["x", "y"]


def test_omitted_zero_value_is_no_drift() -> None:
    assert find([result("update", "a", {"globalDefault": False}, globalDefault="delete")]) == []
    assert len(find([result("update", "a", {"globalDefault": True}, globalDefault="delete")])) == 1
    assert len(find([result("update", "a", {"globalDefault": False}, globalDefault="update")])) == 1
    (both,) = find([result("update", "a", {"spec": {"x": 0, "y": 5}}, spec_x="delete", spec_y="update")])
    assert both.paths == ("spec.y",)
