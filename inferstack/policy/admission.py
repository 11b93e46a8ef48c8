"""Rules in CEL as ValidatingAdmissionPolicies, so that the API server holds ``kubectl apply`` by hand to them too.

Facts of the API (kubernetes.io, "Validating Admission Policy"): variables are evaluated when they are used and see
those before them; an expression that fails counts as a refusal under ``failurePolicy: Fail``; a binding's action Warn
tells the caller, Audit the log, Deny refuses.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from typing import Any

from inferstack.policy.celeval import needed, offenders_text, verdict_text
from inferstack.policy.kinds import KINDS, VARIABLES
from inferstack.policy.model import Cel, Level, Rule
from inferstack.policy.resource import Object
from inferstack.policy.settings import PolicyException, PolicySettings

API = "admissionregistration.k8s.io/v1"
PREFIX = "inferstack-"
"""Of the names of policies and bindings; the rule's id follows."""
_LABEL = "object.kind + ' ' + variables.objectPath"
_NAMING = {
    "objectNamespace": VARIABLES["objectNamespace"],
    "objectName": "has(object.metadata.name) ? object.metadata.name : object.metadata.generateName",
    "objectPath": "(variables.objectNamespace == '' ? '' : variables.objectNamespace + '/') + variables.objectName",
}


def make_policy(
    rule: Rule, settings: PolicySettings, today: dt.date, *, tenant_label: str, labels: Mapping[str, str]
) -> list[Object]:
    """Return the policy of a rule in CEL and its binding; nothing where the rule is disabled.

    Args:
        rule: with ``cel``.
        settings: of the stack.
        today: exceptions that ended before are left out: the API server knows no day.
        tenant_label: which tenants' namespaces carry, for rules that hold there only.
        labels: of both objects.
    """
    check, level = rule.cel, settings.level(rule)
    if check is None or level is Level.DISABLED:
        return []
    name = PREFIX + rule.id
    exceptions = [e for e in settings.exceptions if e.rule == rule.id and e.holds(today)]
    config = settings.config_of(rule)
    variables = {
        **{key: literal(value) for key, value in config.items()},
        **needed(check, config),
        **(_NAMING if exceptions else {}),
    }
    spec: Object = {
        "failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": _resource_rules(check)},
        "variables": [{"name": key, "expression": text} for key, text in variables.items()],
        "validations": [_validation(rule, check, exceptions)],
    }
    binding: Object = {
        "policyName": name,
        "validationActions": ["Warn", "Audit"] if level is Level.ADVISORY else ["Deny"],
    }
    if check.scope == "tenants":
        exists = {"matchExpressions": [{"key": tenant_label, "operator": "Exists"}]}
        binding["matchResources"] = {"namespaceSelector": exists}
    meta = {"name": name, "labels": dict(labels)}
    return [
        {"apiVersion": API, "kind": "ValidatingAdmissionPolicy", "metadata": meta, "spec": spec},
        {"apiVersion": API, "kind": "ValidatingAdmissionPolicyBinding", "metadata": meta, "spec": binding},
    ]


def _validation(rule: Rule, check: Cel, exceptions: list[PolicyException]) -> Object:
    verdict = verdict_text(check)
    if exceptions:
        covered = " || ".join(f"({_LABEL}).matches({literal(exception.pattern)})" for exception in exceptions)
        verdict = f"({covered}) || ({verdict})"
    validation: Object = {"expression": verdict, "message": f"{rule.id}: {rule.fix}", "reason": "Forbidden"}
    if check.each:
        validation["messageExpression"] = (
            f"{literal(rule.id + ': ')} + string(({offenders_text(check)})[0]) + {literal(': ' + rule.fix)}"
        )
    return validation


def _resource_rules(check: Cel) -> list[Object]:
    places: dict[tuple[str, str], list[str]] = {}
    for kind in check.served:
        group, version, resource = KINDS[kind]
        places.setdefault((group, version), []).append(resource)
    return [
        {
            "apiGroups": [group],
            "apiVersions": [version],
            "operations": ["CREATE", "UPDATE"],
            "resources": resources,
        }
        for (group, version), resources in places.items()
    ]


def literal(value: Any) -> str:
    """Return a value of JSON as a literal of CEL: the two are written alike."""
    return json.dumps(value, ensure_ascii=False)
