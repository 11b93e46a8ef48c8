"""Rules in CEL as ValidatingAdmissionPolicies, so that the API server enforces them for every request.

From the API's documentation (kubernetes.io, "Validating Admission Policy"): variables are evaluated lazily and can use
earlier ones; an expression that fails is a denial under ``failurePolicy: Fail``; the action Warn of a binding warns the
client, Audit writes the audit log, Deny rejects the request.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple

from inferstack.apimachinery.objects import Object
from inferstack.policy.celeval import needed, offenders_text, verdict_text
from inferstack.policy.kinds import KINDS, VARIABLES, WORKLOADS
from inferstack.policy.model import Cel, Level, Rule
from inferstack.policy.registry import rules
from inferstack.policy.settings import Admission, PolicyException, PolicySettings

API = "admissionregistration.k8s.io/v1"
PREFIX = "inferstack-"
"""Prefix of the names of policies and bindings."""
_LABEL = "object.kind + ' ' + variables.objectPath"
_NAMING = {
    "objectNamespace": VARIABLES["objectNamespace"],
    "objectName": "has(object.metadata.name) ? object.metadata.name : object.metadata.generateName",
    "objectPath": "(variables.objectNamespace == '' ? '' : variables.objectNamespace + '/') + variables.objectName",
}


# An object that is being deleted is exempt: otherwise nobody could remove a finalizer from one that is older than the
# rule. So is an update of a pod that leaves the spec unchanged, such as the bookkeeping of its Job.
_MATCHES = {
    "not-ending": "!has(object.metadata.deletionTimestamp)",
    "not-bookkeeping": "!(object.kind == 'Pod' && request.operation == 'UPDATE' && object.spec == oldObject.spec)",
}


class Group(NamedTuple):
    """Rules in one policy: of the same scope and level."""

    rules: tuple[Rule, ...]
    variables: dict[str, str]
    """Variables of all rules; no two rules use one name for different expressions."""
    scope: Literal["tenants", "all"]
    level: Level
    """Advisory or mandatory."""
    number: int
    """Number among the groups of the same scope and level."""

    @property
    def name(self) -> str:
        """Name of the policy.

        It contains the level, so that a change of the level creates new objects before the old ones are deleted: the
        dry run of an update would merge old and new actions, which a binding must not have.
        """
        return PREFIX + "-".join(
            ["rules", self.scope, self.level.value, *([str(self.number + 1)] if self.number else [])]
        )

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds that the rules check."""
        return tuple(sorted({kind for rule in self.rules if rule.cel for kind in rule.cel.served}))


def make_policies(
    settings: PolicySettings, today: dt.date, *, tenant_label: str, labels: Mapping[str, str]
) -> list[tuple[Object, Object]]:
    """Return the policies of all enabled rules in CEL, each with its binding.

    Each policy adds two objects to an update, so rules share policies; each rule has its own validation and message.

    Args:
        settings: of the stack.
        today: exceptions that expired before are omitted, since the API server does not know the day.
        tenant_label: label of tenants' namespaces.
        labels: of both objects.
    """
    if settings.admission is Admission.NONE:
        return []
    groups = group(rules().values(), settings, today)
    return [_make(part, part.name, settings, today, tenant_label, labels) for part in groups]


def make_policy(
    rule: Rule, settings: PolicySettings, today: dt.date, *, tenant_label: str, labels: Mapping[str, str]
) -> list[Object]:
    """Return the policy of a single rule in CEL and its binding; nothing if the rule is disabled."""
    groups = group([rule], settings, today)
    return [item for part in groups for item in _make(part, PREFIX + rule.id, settings, today, tenant_label, labels)]


def group(which: Iterable[Rule], settings: PolicySettings, today: dt.date) -> list[Group]:
    """Return the enabled rules in CEL, grouped by policy."""
    groups: list[Group] = []
    for rule in which:
        check, level = rule.cel, settings.level(rule)
        if check is None or level is Level.DISABLED:
            continue
        level = Level.ADVISORY if level is Level.ADVISORY else Level.MANDATORY
        variables = _variables(rule, check, settings, today)
        alike = [at for at, each in enumerate(groups) if (each.scope, each.level) == (check.scope, level)]
        at = next((at for at in alike if _agree(groups[at].variables, variables)), None)
        if at is None:
            groups.append(Group((rule,), variables, check.scope, level, len(alike)))
        else:
            both = {**groups[at].variables, **variables}
            groups[at] = groups[at]._replace(rules=(*groups[at].rules, rule), variables=both)
    return groups


def _agree(labels: Mapping[str, str], other: Mapping[str, str]) -> bool:
    return all(labels.get(key, text) == text for key, text in other.items())


def _variables(rule: Rule, check: Cel, settings: PolicySettings, today: dt.date) -> dict[str, str]:
    config = settings.config_of(rule)
    naming = _NAMING if _exceptions(rule, settings, today) else {}
    return {**{key: literal(value) for key, value in config.items()}, **needed(check, config), **naming}


def _exceptions(rule: Rule, settings: PolicySettings, today: dt.date) -> list[PolicyException]:
    return [each for each in settings.exceptions if each.rule == rule.id and each.holds(today)]


def _make(
    each: Group, name: str, settings: PolicySettings, today: dt.date, tenant_label: str, labels: Mapping[str, str]
) -> tuple[Object, Object]:
    tenants = each.scope == "tenants" or settings.admission is Admission.TENANTS
    accounts = [f"system:serviceaccount:{account.replace('/', ':')}" for account in settings.exempt_accounts]
    matches = _MATCHES | ({"not-exempt": f"!(request.userInfo.username in {literal(accounts)})"} if accounts else {})
    validations = [
        _validation(rule, rule.cel, each.kinds, _exceptions(rule, settings, today)) for rule in each.rules if rule.cel
    ]
    spec: Object = {
        "failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": _resource_rules(each.kinds, in_tenants=tenants)},
        "matchConditions": [{"name": key, "expression": text} for key, text in matches.items()],
        "variables": [{"name": key, "expression": text} for key, text in each.variables.items()],
        "validations": validations,
    }
    binding: Object = {
        "policyName": name,
        "validationActions": ["Warn", "Audit"] if each.level is Level.ADVISORY else ["Deny"],
    }
    places: list[Object] = [{"key": tenant_label, "operator": "Exists"}] if tenants else []
    if settings.exempt_namespaces and not tenants:
        # The API server sets this label, and nobody can change it.
        exempt = list(settings.exempt_namespaces)
        places = [{"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": exempt}]
    if places:
        binding["matchResources"] = {"namespaceSelector": {"matchExpressions": places}}
    meta = {"name": name, "labels": dict(labels)}
    return (
        {"apiVersion": API, "kind": "ValidatingAdmissionPolicy", "metadata": meta, "spec": spec},
        {"apiVersion": API, "kind": "ValidatingAdmissionPolicyBinding", "metadata": meta, "spec": binding},
    )


def _validation(rule: Rule, check: Cel, kinds: tuple[str, ...], exceptions: list[PolicyException]) -> Object:
    verdict = verdict_text(check)
    if exceptions:
        patterns = [pattern for exception in exceptions for pattern in _patterns(exception)]
        covered = " || ".join(f"({_LABEL}).matches({literal(pattern)})" for pattern in patterns)
        verdict = f"({covered}) || ({verdict})"
    if set(check.served) != set(kinds):
        verdict = f"!(object.kind in {literal(sorted(check.served))}) || ({verdict})"
    validation: Object = {"expression": verdict, "message": f"{rule.id}: {rule.fix}", "reason": "Forbidden"}
    if check.each:
        validation["messageExpression"] = (
            f"{literal(rule.id + ': ')} + string(({offenders_text(check)})[0]) + {literal(': ' + rule.fix)}"
        )
    return validation


def _patterns(exception: PolicyException) -> list[str]:
    """Return the patterns of an exception; one for a workload includes its pods, which would otherwise be denied."""
    kind, _, name = exception.resource.partition(" ")
    below = ["Job", "Pod"] if kind == "CronJob" else ["Pod"] if kind in WORKLOADS and kind != "Pod" else []
    names = [exception.resource, *(f"{each} {name}-*" for each in below)]
    return [exception.model_copy(update={"resource": each}).pattern for each in names]


def _resource_rules(kinds: Iterable[str], *, in_tenants: bool) -> list[Object]:
    places: dict[tuple[str, str, str], list[str]] = {}
    for kind in kinds:
        group_, version, resource = KINDS[kind]
        # A namespace selector matches cluster-scoped objects, which belong to no tenant; a Namespace is selected by its
        # own labels.
        scope = "Namespaced" if in_tenants and kind != "Namespace" else "*"
        places.setdefault((group_, version, scope), []).append(resource)
    return [
        {
            "apiGroups": [group_],
            "apiVersions": [version],
            "operations": ["CREATE", "UPDATE"],
            "resources": resources,
            "scope": scope,
        }
        for (group_, version, scope), resources in places.items()
    ]


def literal(value: Any) -> str:
    """Return a JSON value as a CEL literal, which has the same syntax."""
    return json.dumps(value, ensure_ascii=False)
