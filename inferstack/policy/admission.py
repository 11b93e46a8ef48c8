"""Rules in CEL as ValidatingAdmissionPolicies, so that the API server holds ``kubectl apply`` by hand to them too.

Facts of the API (kubernetes.io, "Validating Admission Policy"): variables are evaluated when they are used and see
those before them; an expression that fails counts as a refusal under ``failurePolicy: Fail``; a binding's action Warn
tells the caller, Audit the log, Deny refuses.
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
"""Of the names of policies and bindings."""
_LABEL = "object.kind + ' ' + variables.objectPath"
_NAMING = {
    "objectNamespace": VARIABLES["objectNamespace"],
    "objectName": "has(object.metadata.name) ? object.metadata.name : object.metadata.generateName",
    "objectPath": "(variables.objectNamespace == '' ? '' : variables.objectNamespace + '/') + variables.objectName",
}


# What ends must be able to: else a finalizer could not be taken off an object that came before the rule. And what
# happens to a pod but for its spec, such as the bookkeeping of its job, is no news.
_MATCHES = {
    "not-ending": "!has(object.metadata.deletionTimestamp)",
    "not-bookkeeping": "!(object.kind == 'Pod' && request.operation == 'UPDATE' && object.spec == oldObject.spec)",
}


class Group(NamedTuple):
    """Rules that one policy holds: in the same places, and with the same end."""

    rules: tuple[Rule, ...]
    variables: dict[str, str]
    """Of all of them: no two mean different things by a name."""
    scope: Literal["tenants", "all"]
    level: Level
    """Advisory or mandatory."""
    number: int
    """Counts those that differ in nothing but their variables."""

    @property
    def name(self) -> str:
        """Of its policy.

        The level is part of it, so that a stack that changes it gets new objects before the old ones go: the preview of
        an update would leave the old actions beside the new ones, which no binding may have.
        """
        return PREFIX + "-".join(
            ["rules", self.scope, self.level.value, *([str(self.number + 1)] if self.number else [])]
        )

    @property
    def kinds(self) -> tuple[str, ...]:
        """What its rules are about."""
        return tuple(sorted({kind for rule in self.rules if rule.cel for kind in rule.cel.served}))


def make_policies(
    settings: PolicySettings, today: dt.date, *, tenant_label: str, labels: Mapping[str, str]
) -> list[tuple[Object, Object]]:
    """Return the policies of all rules in CEL that are not disabled, each with its binding.

    A policy is two objects more in each update, so rules share few of them; each keeps a validation and a message of
    its own.

    Args:
        settings: of the stack.
        today: exceptions that ended before are left out: the API server knows no day.
        tenant_label: which tenants' namespaces carry.
        labels: of both objects.
    """
    if settings.admission is Admission.NONE:
        return []
    groups = group(rules().values(), settings, today)
    return [_make(each, each.name, settings, today, tenant_label, labels) for each in groups]


def make_policy(
    rule: Rule, settings: PolicySettings, today: dt.date, *, tenant_label: str, labels: Mapping[str, str]
) -> list[Object]:
    """Return the policy of a single rule in CEL and its binding; nothing where the rule is disabled."""
    groups = group([rule], settings, today)
    return [made for each in groups for made in _make(each, PREFIX + rule.id, settings, today, tenant_label, labels)]


def group(which: Iterable[Rule], settings: PolicySettings, today: dt.date) -> list[Group]:
    """Return rules in CEL that are not disabled by the policy that holds them."""
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


def _agree(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    return all(one.get(key, text) == text for key, text in other.items())


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
    accounts = [f"system:serviceaccount:{one.replace('/', ':')}" for one in settings.exempt_accounts]
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
        # The API server itself puts this label on, so that nobody can name a namespace otherwise.
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
    """Return what an exception covers: with what makes pods also those pods, or it would be let in and stay empty."""
    kind, _, name = exception.resource.partition(" ")
    below = ["Job", "Pod"] if kind == "CronJob" else ["Pod"] if kind in WORKLOADS and kind != "Pod" else []
    names = [exception.resource, *(f"{each} {name}-*" for each in below)]
    return [exception.model_copy(update={"resource": each}).pattern for each in names]


def _resource_rules(kinds: Iterable[str], *, in_tenants: bool) -> list[Object]:
    places: dict[tuple[str, str, str], list[str]] = {}
    for kind in kinds:
        group_, version, resource = KINDS[kind]
        # What has no namespace is in no tenant's, and a selector of namespaces lets it through; but a namespace is
        # selected by its own labels.
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
    """Return a value of JSON as a literal of CEL: the two are written alike."""
    return json.dumps(value, ensure_ascii=False)
