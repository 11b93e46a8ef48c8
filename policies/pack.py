"""The rules as Pulumi policies: what the engine and its users see of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pulumi.runtime.proto import analyzer_pb2

from inferstack.policy.model import Level, Rule, Severity
from inferstack.policy.registry import rules
from inferstack.policy.settings import PolicySettings

NAME = "inferstack"
"""Name of the policy pack."""
VERSION = "0.0.1"
"""Version of the policy pack: every commit has its own rules, so none is published."""


def describe(rule: Rule) -> str:
    """Return a rule's title, severity and frameworks: the first line of each of its messages."""
    return f"{rule.title} ({rule.severity}; {', '.join(frameworks(rule))})"


def frameworks(rule: Rule) -> list[str]:
    """Return the controls that a rule implements."""
    return [f"{framework.name} {framework.control}" for framework in rule.frameworks]


def pack_info(settings: PolicySettings) -> analyzer_pb2.AnalyzerInfo:
    """Return the description of the pack, with a stack's enforcement levels and configuration defaults."""
    policies = [policy_info(rule, settings) for rule in rules().values()]
    return analyzer_pb2.AnalyzerInfo(name=NAME, version=VERSION, supportsConfig=True, policies=policies)


def policy_info(rule: Rule, settings: PolicySettings) -> analyzer_pb2.PolicyInfo:
    """Return the description of a rule as a policy."""
    first = rule.frameworks[0]
    info = analyzer_pb2.PolicyInfo(
        name=rule.id,
        description=describe(rule),
        displayName=rule.title,
        enforcementLevel=level_value(settings.level(rule)),
        severity=severity_value(rule.severity),
        policy_type=analyzer_pb2.POLICY_TYPE_STACK if rule.of_stack else analyzer_pb2.POLICY_TYPE_RESOURCE,
        framework=analyzer_pb2.PolicyComplianceFramework(name=first.name, reference=first.control),
        tags=[rule.category, *frameworks(rule)],
        remediation_steps=rule.fix,
    )
    if rule.config:
        info.configSchema.properties.update(schema(rule, settings.config_of(rule)))
    return info


def schema(rule: Rule, config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the JSON schema of a rule's configuration, with the stack's values as the defaults."""
    return {
        key: {**option.model_dump(mode="json", by_alias=True, exclude_none=True), "default": config[key]}
        for key, option in rule.config.items()
    }


def level_value(level: Level) -> analyzer_pb2.EnforcementLevel.ValueType:
    """Return an enforcement level in the protocol's enumeration."""
    return analyzer_pb2.EnforcementLevel.Value(level.name)


def level_of(value: analyzer_pb2.EnforcementLevel.ValueType) -> Level:
    """Return the enforcement level of a value of the protocol's enumeration."""
    return Level[analyzer_pb2.EnforcementLevel.Name(value)]


def severity_value(severity: Severity) -> analyzer_pb2.PolicySeverity.ValueType:
    """Return a severity in the protocol's enumeration."""
    return analyzer_pb2.PolicySeverity.Value(f"POLICY_SEVERITY_{severity.name}")
