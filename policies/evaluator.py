"""One stack's settings and resources, and the violations that the rules report for them."""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
import json
from collections.abc import Iterable, Mapping
from typing import Any

from google.protobuf import struct_pb2
from pulumi.runtime.proto import analyzer_pb2

from components.security.settings import SecuritySettings
from components.settings import PROJECT, load_role
from components.tenancy.settings import TenancySettings
from inferstack.apimachinery.objects import Object
from inferstack.engine import properties
from inferstack.policy.celeval import prepare
from inferstack.policy.evaluate import Finding, apply
from inferstack.policy.model import Level, Rule
from inferstack.policy.registry import rules
from inferstack.policy.resource import UNKNOWN, Resource, Stack
from inferstack.policy.settings import PolicySettings
from inferstack.tokens import token
from policies.jobs import JOB, children

_JOB = token("deepseek.ai/v1", JOB)

Message = analyzer_pb2.AnalyzeRequest | analyzer_pb2.AnalyzerResource
"""A resource in the engine's form."""


class AnalyzedResource:
    """A resource in the engine's form, decoded on first use and once for all rules.

    Args:
        message: of the engine.
    """

    def __init__(self, message: Message) -> None:
        self._message = message
        self.properties = message.properties

    @functools.cached_property
    def resources(self) -> tuple[Resource, ...]:
        """The resource itself, and the objects that the jobs controller will create for it."""
        message, options = self._message, self._message.options
        own = Resource(
            message.urn, message.type, message.name, to_plain(self.properties), options.parent, options.protect
        )
        return (own, *children(own))


class Evaluator:
    """Evaluates rules on the resources of one stack.

    Args:
        today: the day that exceptions are compared with.
    """

    def __init__(self, today: dt.date) -> None:
        self._today = today
        self._analyzed: dict[str, AnalyzedResource] = {}
        self.configure("", {})

    def configure(self, stack: str, config: Mapping[str, str]) -> None:
        """Load a stack's settings over the defaults, as the program does.

        Args:
            stack: its name.
            config: values by key, as the engine passes them: objects as JSON.

        Raises:
            UserError: a value is invalid; the message names each key.
        """
        prefix = f"{PROJECT}:"
        given = {key.removeprefix(prefix): _parse(text) for key, text in config.items() if key.startswith(prefix)}
        self.settings: PolicySettings = load_role("security", SecuritySettings, given.get("security")).policies
        tenants = load_role("tenancy", TenancySettings, given.get("tenancy")).tenants
        self.stack = Stack(stack, (), frozenset(tenants), given)

    def override(self, levels: Mapping[str, Level], config: Mapping[str, dict[str, Any]]) -> None:
        """Replace levels and configuration, by rule id, with those that the engine merged from all sources."""
        merged = {**self.settings.levels, **levels}
        self.settings = self.settings.model_copy(update={"levels": merged, "config": config})

    def level(self, rule: Rule) -> Level:
        """Return a rule's enforcement level in this stack."""
        return self.settings.level(rule)

    def compile_rules(self) -> None:
        """Compile the expressions of all rules, which the first resource would have to wait for."""
        for rule in rules().values():
            prepare(rule, self.settings.config_of(rule))

    def add(self, message: Message, *, changed: bool = False) -> None:
        """Add a resource, or replace it if the message is another one or has changed."""
        known = self._analyzed.get(message.urn)
        # A submessage stays the same Python object for as long as it is referenced.
        if changed or known is None or known.properties is not message.properties:
            self._analyzed[message.urn] = AnalyzedResource(message)

    def add_stack(self, messages: Iterable[analyzer_pb2.AnalyzerResource]) -> None:
        """Set the resources of the stack, which the engine lists at the end, in no particular order.

        The listed properties are the providers' outputs. Rules check the program's inputs, so a resource that was
        analyzed before keeps those. A resource that the program did not register in this run (``--target``) has only
        outputs.
        """
        listed = {message.urn: message for message in messages}
        registered = [analyzed for urn, analyzed in self._analyzed.items() if urn in listed]
        others = [AnalyzedResource(message) for urn, message in listed.items() if urn not in self._analyzed]
        resources = tuple(resource for analyzed in (*registered, *others) for resource in analyzed.resources)
        self.stack = dataclasses.replace(self.stack, resources=resources)

    def resource_violations(self, rule: Rule, urn: str) -> list[str]:
        """Return the messages of a rule for a resource and for the objects that the controller creates for it."""
        return self._messages(rule, self._analyzed[urn].resources)

    def own_violations(self, rule: Rule, urn: str) -> list[str]:
        """Return the messages of a rule for a resource itself."""
        return self._messages(rule, self._analyzed[urn].resources[:1])

    def stack_violations(self, rule: Rule) -> list[tuple[str, str]]:
        """Return the messages of a rule for the stack, each with the URN of a resource or an empty one."""
        return self._violations(rule, self.stack)

    def _messages(self, rule: Rule, resources: tuple[Resource, ...]) -> list[str]:
        stack = dataclasses.replace(self.stack, resources=resources)
        return [message for _, message in self._violations(rule, stack)]

    def _violations(self, rule: Rule, stack: Stack) -> list[tuple[str, str]]:
        # A preview reports nothing where the result depends on an unknown value: the update checks again.
        results = apply(rule, stack, self.settings, self._today)
        findings = [result for result in results if isinstance(result, Finding)]
        return [(finding.resource.urn if finding.resource else "", self._message(finding)) for finding in findings]

    def _message(self, finding: Finding) -> str:
        created = finding.resource is not None and finding.resource.origin
        text = f"{finding.label}{' (made of the InferenceJob)' if created else ''}: {finding.message}"
        expired = self.settings.expired(finding.rule.id, finding.label, self._today)
        return f"{text} Its exception ended on {expired.expires}, owner {expired.owner}." if expired else text


@functools.cache
def rules_for(type_: str) -> tuple[Rule, ...]:
    """Return the rules on single resources that can apply to a type, or to objects created for it."""
    return tuple(rule for rule in rules().values() if not rule.of_stack and _applies(rule, type_))


def _applies(rule: Rule, type_: str) -> bool:
    if type_ == _JOB:
        return True
    if rule.check is not None:
        return type_ in rule.check.types
    assert rule.cel is not None  # noqa: S101  # a rule has one of the two
    return type_.rpartition(":")[2] in rule.cel.served


def to_plain(message: struct_pb2.Struct) -> Object:
    """Return properties as plain values: `UNKNOWN` where a preview has none, secrets without their mark."""
    return {key: _to_plain(value) for key, value in properties.decode(message).items()}


def _to_plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _to_plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_to_plain(item) for item in value]
    if isinstance(value, properties.Secret):
        return _to_plain(value.value)
    return UNKNOWN if value is properties.UNKNOWN else value


def _parse(text: str) -> Any:
    """Return a value of the configuration: an object, or the text itself."""
    return json.loads(text) if text[:1] in ("{", "[") else text
