"""All rules in previews of the real engine: what examples show is found, or let be, through the policy pack."""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from inferstack.apimachinery.objects import Object
from inferstack.policy.evaluate import Finding, apply, evaluate
from inferstack.policy.examples import TENANTS
from inferstack.policy.model import Example, Rule
from inferstack.policy.registry import rules
from inferstack.policy.resource import Resource, Stack
from inferstack.policy.settings import PolicySettings
from policies.jobs import children
from tests.rehearsal.policy_program import Shown, resources

pytestmark = pytest.mark.rehearsal

TODAY = dt.datetime.now(dt.UTC).date()


@dataclass(frozen=True)
class Case:
    """One example of one rule."""

    name: str
    rule: Rule
    example: Example
    wrong: bool

    @functools.cached_property
    def seen(self) -> list[Resource]:
        """Its resources, and what the operator makes of them, as the pack sees them."""
        own = resources(self.example.stack, {self.name: self.example.resources})
        return [resource for each in own for resource in (each, *children(each))]


@dataclass
class Preview:
    """Cases that one preview can show: none of them changes the findings of another."""

    stack: str
    cases: list[Case] = field(default_factory=list)

    @property
    def groups(self) -> dict[str, tuple[Object, ...]]:
        return {case.name: case.example.resources for case in self.cases}

    @property
    def config(self) -> dict[str, Object]:
        return {case.rule.id: case.example.config for case in self.cases if case.example.config}

    @property
    def settings(self) -> Object:
        return {role: value for case in self.cases for role, value in case.example.settings.items()}

    def takes(self, case: Case) -> bool:
        """Return whether a case can come along."""
        if case.example.stack != self.stack:
            return False
        if any(taken.rule is case.rule and taken.example.config != case.example.config for taken in self.cases):
            return False
        if any(self.settings.get(role, value) != value for role, value in case.example.settings.items()):
            return False
        if not case.rule.of_stack:
            return True
        more = Preview(self.stack, [*self.cases, case])
        rule_settings = PolicySettings.strict(more.config)
        # The order in which a program registers what does not wait for one another is not fixed.
        return all(
            more.judges(rule, stack, rule_settings)
            for stack in (more.seen, dataclasses.replace(more.seen, resources=more.seen.resources[::-1]))
            for rule in {taken.rule.id: taken.rule for taken in more.cases if taken.rule.of_stack}.values()
        )

    def judges(self, rule: Rule, stack: Stack, rule_settings: PolicySettings) -> bool:
        """Return whether a rule of the whole stack says of each of its cases what it should."""
        findings = [finding for finding in apply(rule, stack, rule_settings, TODAY) if isinstance(finding, Finding)]
        mine = [case for case in self.cases if case.rule is rule]
        # A finding about the stack as a whole belongs to the one case of the preview.
        if len(mine) > 1 and any(finding.resource is None for finding in findings):
            return False
        return all(case.wrong is any(_of(case, finding) for finding in findings) for case in mine)

    @property
    def seen(self) -> Stack:
        """What the pack is to see."""
        every = [resource for case in self.cases for resource in case.seen]
        return Stack(self.stack, tuple(every), TENANTS, self.settings)


def _of(case: Case, finding: Finding) -> bool:
    """Return whether a finding is about a case: one of its resources, or the whole stack."""
    if finding.resource is None:
        return True
    return f"::test:index:{case.name}$" in finding.resource.urn


def previews() -> list[Preview]:
    """Return all examples of all rules in as few previews as will do."""
    previews: list[Preview] = []
    cases = [
        Case(f"{rule.id}-{'bad' if wrong else 'good'}-{number}", rule, example, wrong)
        for rule in sorted(rules().values(), key=lambda rule: rule.of_stack)
        for wrong, shown in ((False, rule.good), (True, rule.bad))
        for number, example in enumerate(shown)
    ]
    for case in cases:
        taker = next((preview for preview in previews if preview.takes(case)), None)
        if taker is None:
            taker = Preview(case.example.stack)
            assert taker.takes(case), f"{case.name} alone is not judged as it should be"
            previews.append(taker)
        taker.cases.append(case)
    return previews


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    """A project with an engine of its own."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("PULUMI_BACKEND_URL", "PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE", "PULUMI_HOME"):
            patch.delenv(name, raising=False)
        yield Shown(tmp_path_factory.mktemp("shown"))


def test_previews_report_each_example_as_its_rule_does(shown: Shown) -> None:
    tried = []
    for preview in previews():
        held = {"enforcement": "advisory", "config": preview.config}
        run = shown.run(preview.stack, preview.groups, policies=held, settings=preview.settings)
        assert run.code == 0, run.output
        reported = {(report.rule, report.urn) for report in run.reported}
        for case in preview.cases:
            of_case = f"::test:index:{case.name}$"
            whole = f"::pulumi:pulumi:Stack::inferstack-{preview.stack}"
            urns = [urn for rule, urn in reported if rule == case.rule.id and (of_case in urn or urn.endswith(whole))]
            assert bool(urns) is case.wrong, f"{case.name}: {case.example.title}: {run.output[-4000:]}"
        # What a rule of the whole stack says of other rules' examples can depend on their order.
        single = {name for name, rule in rules().items() if not rule.of_stack}
        expected = evaluate(preview.seen, PolicySettings.strict(preview.config), TODAY)
        assert {report for report in reported if report[0] in single} == {
            (report.rule.id, report.resource.urn)
            for report in expected
            if isinstance(report, Finding) and report.resource and report.rule.id in single
        }
        tried += preview.cases
    assert len(tried) == sum(len(rule.good) + len(rule.bad) for rule in rules().values())


def pod(name: str, **spec: Any) -> Object:
    container = {"name": "server", "image": "ghcr.io/example/server:1.4.2", **spec}
    metadata = {"name": name, "namespace": "nlp"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}}


PRIVILEGED = {"securityContext": {"privileged": True}}
JOB = {
    "apiVersion": "deepseek.ai/v1",
    "kind": "InferenceJob",
    "metadata": {"name": "bert", "namespace": "nlp"},
    "spec": {
        "model": "bert-base-uncased",
        "replicas": 2,
        "resources": {"requests": {"nvidia.com/gpu": 1}, "limits": {"nvidia.com/gpu": 1}},
    },
}
BUCKET = {
    "type": "aws:s3/bucket:Bucket",
    "name": "models",
    "properties": {"bucket": "models", "tags": {"team": "nlp"}},
}


def exception(resource: str, days: int) -> Object:
    return {
        "rule": "pods-not-privileged",
        "resource": resource,
        "owner": "nlp@example.com",
        "reason": "its profiler reads the counters of the CPU",
        "expires": str(TODAY + dt.timedelta(days=days)),
    }


def test_advisory_findings_do_not_fail_and_exceptions_expire(shown: Shown) -> None:
    policies = {"enforcement": "advisory", "exceptions": [exception("Pod nlp/free", 0), exception("Pod nlp/late", -1)]}
    pods = [pod("free", **PRIVILEGED), pod("late", **PRIVILEGED), pod("bound", **PRIVILEGED)]

    run = shown.run("dev", {"pods": pods}, policies=policies)

    assert run.code == 0, run.output
    reported = {
        report.urn.rpartition("::")[2]: report for report in run.reported if report.rule == "pods-not-privileged"
    }
    assert reported.keys() == {"late-1", "bound-2"}
    assert {report.level for report in reported.values()} == {"advisory"}
    ended = f"Its exception ended on {TODAY - dt.timedelta(days=1)}, owner nlp@example.com."
    assert (ended in reported["late-1"].message, ended in reported["bound-2"].message) == (True, False)
    assert "Pod nlp/bound: " in reported["bound-2"].message


def test_mandatory_findings_fail_the_preview_and_disabled_rules_are_silent(shown: Shown) -> None:
    levels = {**dict.fromkeys(rules(), "disabled"), "pods-not-privileged": "mandatory", "jobs-clean-up": "advisory"}

    run = shown.run("prod", {"pods": [pod("bound", **PRIVILEGED)]}, policies={"levels": levels})

    assert run.code != 0
    assert [(report.rule, report.level) for report in run.reported] == [("pods-not-privileged", "mandatory")]


def test_children_of_a_job_are_evaluated(shown: Shown) -> None:
    config = {"images-from-allowed-registries": {"registries": ["mirror.example/"]}}

    run = shown.run("dev", {"jobs": [JOB]}, policies={"enforcement": "advisory", "config": config})

    (report,) = [finding for finding in run.reported if finding.rule == "images-from-allowed-registries"]
    assert report.urn.endswith("::bert-0")
    assert "Deployment nlp/bert (made of the InferenceJob): " in report.message


def test_remediation_adds_missing_values_only(shown: Shown) -> None:
    required = {"cost-center": "platform", "team": "other"}
    config = {"aws-resources-tagged": {"required": required, "present": []}}
    levels = {**dict.fromkeys(rules(), "disabled"), "aws-resources-tagged": "remediate"}

    run = shown.run("mended", {"aws": [BUCKET]}, policies={"levels": levels, "config": config}, verb="up")

    assert run.code == 0, run.output
    assert run.remediated == ("aws-resources-tagged",)
    assert run.reported == ()
    assert {"team": "nlp", "cost-center": "platform"} in [inputs.get("tags") for inputs in shown.inputs("mended")]


def test_unknown_policy_setting_fails_the_preview_with_its_key(shown: Shown) -> None:
    run = shown.run("dev", {}, policies={"levels": {"pods-not-priviledged": "advisory"}})

    assert run.code != 0
    assert "inferstack:security.policies.levels" in run.output
    assert "pods-not-privileged" in run.output
    assert "Traceback" not in run.output
