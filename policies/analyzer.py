"""The policy pack as a Pulumi analyzer: the gRPC service that the engine calls (pulumi/proto/analyzer.proto).

The pack serves the protocol itself, without ``pulumi_policy``: that SDK decodes each resource once for each policy, and
gives a policy no access to the stack's configuration (docs/adr/0009-no-speed-hacks-in-the-engine.md).
"""

from __future__ import annotations

import datetime as dt
import sys
import threading
from concurrent import futures

import grpc
from google.protobuf.empty_pb2 import Empty
from pulumi.runtime.proto import analyzer_pb2, analyzer_pb2_grpc, plugin_pb2

from inferstack.engine.plugin_process import tune_gc
from inferstack.errors import UserError
from inferstack.policy.model import Level, Rule
from inferstack.policy.registry import rules
from policies.evaluator import Evaluator, rules_for, to_plain
from policies.pack import NAME, VERSION, describe, level_of, level_value, pack_info, severity_value
from policies.remediation import remediate

_MAX_MESSAGE_BYTES = 400 * 1024 * 1024
"""The limit of Pulumi's own plugins; gRPC's default of 4 MiB is too small for a stack."""


class Analyzer(analyzer_pb2_grpc.AnalyzerServicer):
    """Answers the engine; `Handshake` and `Cancel` stay unimplemented, as in ``pulumi_policy``.

    Args:
        evaluator: holds the stack's settings and resources.
    """

    def __init__(self, evaluator: Evaluator) -> None:
        self.evaluator = evaluator

    def GetPluginInfo(self, request: Empty, context: grpc.ServicerContext) -> plugin_pb2.PluginInfo:  # noqa: N802  # gRPC's names
        """Return the version of the pack."""
        del request, context
        return plugin_pb2.PluginInfo(version=VERSION)

    def ConfigureStack(  # noqa: N802
        self, request: analyzer_pb2.AnalyzerStackConfigureRequest, context: grpc.ServicerContext
    ) -> analyzer_pb2.AnalyzerStackConfigureResponse:
        """Take the stack's settings, before the engine asks for levels and schemas."""
        try:
            self.evaluator.configure(request.stack, dict(request.config))
        except UserError as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        return analyzer_pb2.AnalyzerStackConfigureResponse()

    def GetAnalyzerInfo(self, request: Empty, context: grpc.ServicerContext) -> analyzer_pb2.AnalyzerInfo:  # noqa: N802
        """Return all policies with the stack's levels and configuration."""
        del request, context
        return pack_info(self.evaluator.settings)

    def Configure(self, request: analyzer_pb2.ConfigureAnalyzerRequest, context: grpc.ServicerContext) -> Empty:  # noqa: N802
        """Take the final levels and configuration: the stack's, overridden by ``--policy-pack-config``."""
        del context
        given = request.policyConfig
        self.evaluator.override(
            {name: level_of(policy.enforcementLevel) for name, policy in given.items()},
            {name: to_plain(policy.properties) for name, policy in given.items()},
        )
        # The program imports its modules for seconds before it registers its first resource.
        threading.Thread(target=self.evaluator.compile_rules, daemon=True).start()
        return Empty()

    def Remediate(  # noqa: N802
        self, request: analyzer_pb2.AnalyzeRequest, context: grpc.ServicerContext
    ) -> analyzer_pb2.RemediateResponse:
        """Return the properties that rules on level ``remediate`` change."""
        del context
        response = analyzer_pb2.RemediateResponse()
        self.evaluator.add(request)
        for rule in rules().values():
            if rule.of_stack or self.evaluator.level(rule) is not Level.REMEDIATE:
                continue
            if not rule.remedy:
                response.not_applicable.add(policy_name=rule.id, reason="Policy does not implement remediate")
                continue
            if not self.evaluator.own_violations(rule, request.urn):
                continue
            if remediate(rule, request.properties, self.evaluator.settings.config_of(rule)):
                # Later rules see what this one changed.
                self.evaluator.add(request, changed=True)
                response.remediations.add(
                    policyName=rule.id,
                    policyPackName=NAME,
                    policyPackVersion=VERSION,
                    description=describe(rule),
                    properties=request.properties,
                )
        return response

    def Analyze(  # noqa: N802
        self, request: analyzer_pb2.AnalyzeRequest, context: grpc.ServicerContext
    ) -> analyzer_pb2.AnalyzeResponse:
        """Return the violations of one resource, which a remediation may have changed."""
        del context
        self.evaluator.add(request)
        response = analyzer_pb2.AnalyzeResponse()
        for rule in rules_for(request.type):
            if self.evaluator.level(rule) is not Level.DISABLED:
                for message in self.evaluator.resource_violations(rule, request.urn):
                    self._report(response, rule, message)
        return response

    def AnalyzeStack(  # noqa: N802
        self, request: analyzer_pb2.AnalyzeStackRequest, context: grpc.ServicerContext
    ) -> analyzer_pb2.AnalyzeResponse:
        """Return the violations of the stack as a whole."""
        del context
        self.evaluator.add_stack(request.resources)
        response = analyzer_pb2.AnalyzeResponse()
        for rule in rules().values():
            if rule.of_stack and self.evaluator.level(rule) is not Level.DISABLED:
                for urn, message in self.evaluator.stack_violations(rule):
                    self._report(response, rule, message, urn)
        return response

    def _report(self, response: analyzer_pb2.AnalyzeResponse, rule: Rule, message: str, urn: str = "") -> None:
        level = self.evaluator.level(rule)
        response.diagnostics.add(
            policyName=rule.id,
            policyPackName=NAME,
            policyPackVersion=VERSION,
            message=f"{describe(rule)}\n{message}",
            urn=urn,
            description=describe(rule),
            # A violation that remains after the remediation, or that has none, is mandatory.
            enforcementLevel=level_value(Level.MANDATORY if level is Level.REMEDIATE else level),
            severity=severity_value(rule.severity),
        )


def serve() -> None:
    """Serve the engine until it ends this process."""
    analyzer = Analyzer(Evaluator(dt.datetime.now(dt.UTC).date()))
    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=4), options=[("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES)]
    )
    analyzer_pb2_grpc.add_AnalyzerServicer_to_server(analyzer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    tune_gc()
    # The engine reads the port from the first line.
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    server.wait_for_termination()
