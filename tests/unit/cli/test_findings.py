"""Findings of policies, as text and in reports."""

from __future__ import annotations

from typing import Any

import pytest

from inferstack.cli.stack import findings
from inferstack.cli.stack.findings import PACK, Finding, make_finding
from policies.pack import NAME

MESSAGE = "<{%reset%}>Pods have no privileges. (high)\nPod nlp/server: server: Drop it.<{%reset%}>\n"


def event(**over: Any) -> dict[str, Any]:
    return {
        "policyName": "pods-not-privileged",
        "policyPackName": PACK,
        "enforcementLevel": "mandatory",
        "severity": "high",
        "resourceUrn": "urn:pulumi:prod::inferstack::kubernetes:core/v1:Pod::pod-1",
        "message": MESSAGE,
        **over,
    }


def test_our_findings_name_the_resource_as_people_do() -> None:
    finding = make_finding(event())
    assert (finding.resource, finding.message) == ("Pod nlp/server", "server: Drop it.")
    assert PACK == NAME


def test_findings_of_other_packs_are_told_as_they_are() -> None:
    finding = make_finding(event(policyPackName="theirs"))
    assert finding.resource == "pod-1"
    assert finding.message.startswith("Pods have no privileges. (high)\nPod nlp/server")
    assert make_finding(event(message="can't run policy")).message == "can't run policy"


def test_advisory_findings_warn_and_mandatory_ones_are_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    stops = make_finding(event())
    warns = make_finding(event(enforcementLevel="advisory", policyName="jobs-clean-up"))
    findings.warn([stops, warns])
    assert findings.show_mandatory([stops, warns])
    assert not findings.show_mandatory([warns])
    captured = capsys.readouterr()
    assert captured.err == "warning: Pod nlp/server: server: Drop it. (jobs-clean-up)\n"
    head, row = captured.out.splitlines()
    assert head.split() == ["RULE", "RESOURCE", "WHAT", "TO", "DO"]
    assert row.split() == ["pods-not-privileged", "Pod", "nlp/server", "server:", "Drop", "it."]


@pytest.mark.parametrize(
    ("policies", "wanted"),
    [
        ({}, True),
        ({"enforcement": "advisory"}, False),
        ({"enforcement": "advisory", "levels": {"pods-not-privileged": "mandatory"}}, False),
        ({"enforcement": "advisory", "levels": {"aws-bucket-versioned": "mandatory"}}, True),
    ],
)
def test_what_only_an_updates_end_would_tell_is_asked_before(policies: dict[str, Any], *, wanted: bool) -> None:
    assert findings.needs_preview({"inferstack:security": {"policies": policies}}) is wanted


def test_the_pack_is_asked_for_by_its_folder(tmp_path: Any) -> None:
    assert findings.arguments(tmp_path) == ["--policy-pack", str(tmp_path / "policies")]
    assert findings.arguments(tmp_path, enabled=False) == []
    assert Finding("a", "remediate", "", "b", "c").is_mandatory is False
