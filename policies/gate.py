"""One run's settings and resources, and what rules say of them."""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
import json
from collections.abc import Iterable, Mapping
from typing import Any

from components.security.settings import SecuritySettings
from components.settings import PROJECT, load_role
from components.tenancy.settings import TenancySettings
from inferstack.policy.celeval import prepare
from inferstack.policy.evaluate import Finding, apply
from inferstack.policy.model import Rule
from inferstack.policy.registry import find, rules
from inferstack.policy.resource import Resource, Stack
from inferstack.policy.settings import PolicySettings
from inferstack.tokens import token
from policies.jobs import JOB, children
from policies.wire import Properties

_JOB = token("deepseek.ai/v1", JOB)


class Noted:
    """A resource as the engine tells of it, decoded when it is first looked at.

    Args:
        request: the engine's message.
    """

    def __init__(self, request: Any) -> None:
        self._request = request
        self.properties = Properties(request.properties)

    @functools.cached_property
    def resources(self) -> tuple[Resource, ...]:
        """The resource, and what the operator makes of it."""
        told, options = self._request, self._request.options
        own = Resource(told.urn, told.type, told.name, self.properties.plain, options.parent, options.protect)
        return (own, *children(own))


class Gate:
    """What the pack knows while the engine works on one stack.

    Args:
        today: by which exceptions have ended or have not.
    """

    def __init__(self, today: dt.date) -> None:
        self._today = today
        self._noted: dict[str, Noted] = {}
        self.configure("", {})

    def configure(self, stack: str, config: Mapping[str, str]) -> None:
        """Take a stack's settings, over the defaults, as the program does.

        Args:
            stack: its name.
            config: values by key, as the engine has them: objects as JSON.

        Raises:
            UserError: naming each wrong key.
        """
        prefix = f"{PROJECT}:"
        given = {key.removeprefix(prefix): _parsed(text) for key, text in config.items() if key.startswith(prefix)}
        self.settings: PolicySettings = load_role("security", SecuritySettings, given.get("security")).policies
        tenants = load_role("tenancy", TenancySettings, given.get("tenancy")).tenants
        self.stack = Stack(stack, (), frozenset(tenants), given)

    def set_config(self, config: Mapping[str, dict[str, Any]]) -> None:
        """Take the configuration of rules, by id: the stack's, with what ``--policy-pack-config`` says over it."""
        self.settings = self.settings.model_copy(update={"config": config})

    def prepare(self) -> None:
        """Do what the first resource would have to wait for."""
        for rule in rules().values():
            prepare(rule, self.settings.config_of(rule))

    def note(self, request: Any) -> None:
        """Take note of a resource that the engine asks about."""
        known = self._noted.get(request.urn)
        # While it is kept here, a message is the same object each time that it is looked at.
        if known is None or known.properties.message is not request.properties:
            self._noted[request.urn] = Noted(request)

    def of(self, urn: str) -> tuple[Resource, ...]:
        """Return a resource that was noted, and what the operator makes of it."""
        return self._noted[urn].resources

    def see_stack(self, resources: Iterable[Any]) -> None:
        """Take all resources of the stack, as the engine lists them at the end, in no order.

        Their properties are what providers made of them; rules are about what the program asked for, which was noted as
        it came. What the program did not register this time (``--target``) is known by the former alone.
        """
        listed = {one.urn: one for one in resources}
        noted = [one for urn, one in self._noted.items() if urn in listed]
        others = [Noted(one) for urn, one in listed.items() if urn not in self._noted]
        found = [resource for one in (*noted, *others) for resource in one.resources]
        self.stack = dataclasses.replace(self.stack, resources=tuple(found))

    def judge_resource(self, rule: Rule, resources: tuple[Resource, ...]) -> list[str]:
        """Return what a rule says of a resource and of what the operator makes of it."""
        stack = dataclasses.replace(self.stack, resources=resources)
        return [message for _, message in self._judge(rule, stack)]

    def judge_stack(self, rule: Rule) -> list[tuple[str, str]]:
        """Return what a rule says of the stack, each with the URN of a resource or an empty one."""
        return self._judge(rule, self.stack)

    def _judge(self, rule: Rule, stack: Stack) -> list[tuple[str, str]]:
        # What cannot be decided in a preview is no finding; the update asks again, and knows.
        said = [one for one in apply(rule, stack, self.settings, self._today) if isinstance(one, Finding)]
        return [(one.resource.urn if one.resource else "", self._told(one)) for one in said]

    def _told(self, finding: Finding) -> str:
        made = finding.resource is not None and finding.resource.origin
        text = f"{finding.label}{' (made of the InferenceJob)' if made else ''}: {finding.message}"
        ended = self.settings.expired(finding.rule.id, finding.label, self._today)
        return f"{text} Its exception ended on {ended.expires}, owner {ended.owner}." if ended else text


def may_concern(rule: Rule, type_: str) -> bool:
    """Tell whether a rule can have anything to say of a resource of a type, or of what is made of it."""
    return _may_concern(rule.id, type_)


@functools.cache
def _may_concern(name: str, type_: str) -> bool:
    if type_ == _JOB:
        return True
    rule = find(name)
    if rule.check is not None:
        return type_ in rule.check.types
    assert rule.cel is not None  # noqa: S101  # a rule has one of the two
    return type_.rpartition(":")[2] in rule.cel.served


def _parsed(text: str) -> Any:
    """Return a value of the configuration: an object, or the text that it is."""
    return json.loads(text) if text[:1] in ("{", "[") else text
