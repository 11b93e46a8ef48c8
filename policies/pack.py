"""The rules as policies of the engine."""

from __future__ import annotations

import datetime as dt
import functools
import gc
import threading
from collections.abc import Callable, Mapping
from typing import Any

import grpc
import pulumi_policy
from pulumi.runtime import proto
from pulumi_policy import policy as sdk

from inferstack.errors import UserError
from inferstack.policy.model import Rule
from inferstack.policy.registry import rules
from policies import wire
from policies.gate import Gate, may_concern
from policies.remedy import mend

NAME = "inferstack"
"""Of the pack."""


def describe(rule: Rule) -> str:
    """Return what holds by a rule, how grave it is and who says so."""
    return f"{rule.title} ({rule.severity}; {', '.join(frameworks(rule))})"


def frameworks(rule: Rule) -> list[str]:
    """Return the controls that a rule comes from, as people write them."""
    return [f"{one.name} {one.control}" for one in rule.frameworks]


def make_policy(rule: Rule, gate: Gate) -> pulumi_policy.Policy:
    """Return a rule as a policy; level and configuration are the stack's once `apply_settings` has seen them."""
    told: Any = {
        "display_name": rule.title,
        "severity": pulumi_policy.Severity(rule.severity.value),
        "framework": pulumi_policy.PolicyComplianceFramework(
            name=rule.frameworks[0].name, reference=rule.frameworks[0].control
        ),
        "tags": [rule.category, *frameworks(rule)],
        "remediation_steps": rule.fix,
    }
    if rule.of_stack:
        return pulumi_policy.StackValidationPolicy(rule.id, describe(rule), _of_stack(rule, gate), **told)
    told["remediate"] = _remediation(rule, gate) if rule.remedy else None
    return pulumi_policy.ResourceValidationPolicy(rule.id, describe(rule), _of_resource(rule, gate), **told)


def apply_settings(policies: list[pulumi_policy.Policy], gate: Gate) -> None:
    """Give policies the levels and the configuration that the stack's settings say."""
    for policy in policies:
        rule = rules()[policy.name]
        policy.enforcement_level = pulumi_policy.EnforcementLevel(gate.settings.level(rule).value)
        if rule.config:
            policy.config_schema = pulumi_policy.PolicyConfigSchema(schema(rule, gate.settings.config_of(rule)))


def schema(rule: Rule, config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the JSON schema of a rule's configuration, with the stack's values as the defaults."""
    return {
        key: {**option.model_dump(mode="json", by_alias=True, exclude_none=True), "default": config[key]}
        for key, option in rule.config.items()
    }


@functools.cache
def concerned(type_: str) -> bool:
    """Tell whether any rule looks at resources of a type one by one."""
    return any(may_concern(rule, type_) for rule in rules().values())


def _of_resource(rule: Rule, gate: Gate) -> Callable[..., None]:
    def validate(args: Any, report: Callable[..., None]) -> None:
        if may_concern(rule, args.resource_type):
            for message in gate.judge_resource(rule, gate.of(args.urn)):
                report(message)

    return validate


def _of_stack(rule: Rule, gate: Gate) -> Callable[..., None]:
    def validate(_: Any, report: Callable[..., None]) -> None:
        for urn, message in gate.judge_stack(rule):
            report(message, urn)

    return validate


def _remediation(rule: Rule, gate: Gate) -> Callable[..., Any]:
    def remediate(args: Any) -> Any:
        if not may_concern(rule, args.resource_type):
            return None
        own, *_ = gate.of(args.urn)
        if not gate.judge_resource(rule, (own,)):
            return None
        return mend(rule, args.props.marked(), gate.settings.config_of(rule))

    return remediate


class Servicer(sdk._PolicyAnalyzerServicer):  # private: see `serve`
    """The SDK's answers to the engine, with the stack's settings taken into account."""

    gate: Gate
    policies: list[pulumi_policy.Policy]

    def ConfigureStack(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802  # gRPC's names
        """Take the stack's settings before the engine asks for levels and schemas."""
        try:
            self.gate.configure(request.stack, dict(request.config))
        except UserError as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        apply_settings(self.policies, self.gate)
        return super().ConfigureStack(request, context)

    def Configure(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Take the rules' configuration."""
        self.gate.set_config({name: wire.plain(one.properties) for name, one in request.policyConfig.items()})
        # The program imports for seconds before its first resource comes.
        threading.Thread(target=self.gate.prepare, daemon=True).start()
        return super().Configure(request, context)  # type: ignore[no-untyped-call]

    def Remediate(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Note a resource before policies look at it."""
        self.gate.note(request)
        return super().Remediate(request, context)  # type: ignore[no-untyped-call]

    def Analyze(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Note a resource, which a remedy may have changed, before policies look at it."""
        self.gate.note(request)
        if not concerned(request.type):
            return proto.AnalyzeResponse()
        return super().Analyze(request, context)  # type: ignore[no-untyped-call]

    def AnalyzeStack(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Take all resources once; the policies ask the gate for them and not the SDK, which copies them for each."""
        self.gate.see_stack(request.resources)
        return super().AnalyzeStack(proto.AnalyzeStackRequest(), context)  # type: ignore[no-untyped-call]

    def _get_policy_config(self, name: str) -> dict[str, Any]:
        return self.gate.settings.config_of(rules()[name])


def serve() -> None:
    """Serve the engine until it ends this process."""
    gate = Gate(dt.datetime.now(dt.UTC).date())
    made = [make_policy(rule, gate) for rule in rules().values()]
    apply_settings(made, gate)
    Servicer.gate, Servicer.policies = gate, made
    wire.install()
    # `PolicyPack` makes its servicer by this name and takes no other.
    sdk._PolicyAnalyzerServicer = Servicer  # type: ignore[misc]
    # What is there now stays until the end, which is seconds away.
    gc.freeze()
    gc.set_threshold(200_000, 20, 20)
    pulumi_policy.PolicyPack(NAME, made)
