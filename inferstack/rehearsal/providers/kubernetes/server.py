"""The provider's gRPC service: from the engine's messages to the operations and back."""

from __future__ import annotations

import asyncio
import importlib.metadata
import sys
from collections.abc import Mapping
from typing import Any, NoReturn

import grpc
import grpc.aio
from google.protobuf import struct_pb2
from google.protobuf.empty_pb2 import Empty
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc, status_pb2

from inferstack.rehearsal.providers import lifeline
from inferstack.rehearsal.providers.kubernetes import check, diff, lifecycle, objects, settings, tokens
from inferstack.rehearsal.providers.kubernetes.cluster import Cluster, UnreachableError
from inferstack.rehearsal.providers.kubernetes.errors import OperationError, PartialError
from inferstack.rehearsal.providers.kubernetes.host import Host
from inferstack.rehearsal.providers.kubernetes.values import (
    Properties,
    decode,
    encode,
    has_unknown,
    reveal,
    without_nulls,
)

Context = grpc.aio.ServicerContext[Any, Any]

_UNLIMITED = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))
_KINDS = {
    ("add", False): provider_pb2.PropertyDiff.ADD,
    ("add", True): provider_pb2.PropertyDiff.ADD_REPLACE,
    ("delete", False): provider_pb2.PropertyDiff.DELETE,
    ("delete", True): provider_pb2.PropertyDiff.DELETE_REPLACE,
    ("update", False): provider_pb2.PropertyDiff.UPDATE,
    ("update", True): provider_pb2.PropertyDiff.UPDATE_REPLACE,
}
_CONSTRUCT_HELP = {
    "kubernetes:helm.sh/v4:Chart": "use kubernetes.helm.v3.Release",
    "kubernetes:yaml/v2:ConfigFile": "use kubernetes.yaml.ConfigFile",
    "kubernetes:yaml/v2:ConfigGroup": "use kubernetes.yaml.ConfigGroup",
    "kubernetes:kustomize/v2:Directory": "render it to a file and use kubernetes.yaml.ConfigFile",
}


class KubernetesProvider(provider_pb2_grpc.ResourceProviderServicer):
    """One configured provider; the engine starts a process for each provider resource of the program."""

    def __init__(self, engine_address: str) -> None:
        self.host = Host(engine_address)
        self._cluster: Cluster | None = None

    # ---- configuration ----

    async def Handshake(  # noqa: N802  # gRPC's names, here and below
        self, request: provider_pb2.ProviderHandshakeRequest, context: Context
    ) -> provider_pb2.ProviderHandshakeResponse:
        """Say what this provider understands."""
        del context
        if request.engine_address:
            self.host = Host(request.engine_address)
        return provider_pb2.ProviderHandshakeResponse(accept_secrets=True, supports_autonaming_configuration=True)

    async def GetPluginInfo(self, request: Empty, context: Context) -> plugin_pb2.PluginInfo:  # noqa: N802
        """Return the version of the vendor's provider that this one stands in for."""
        del request, context
        return plugin_pb2.PluginInfo(version=importlib.metadata.version("pulumi-kubernetes"))

    async def GetSchema(  # noqa: N802
        self, request: provider_pb2.GetSchemaRequest, context: Context
    ) -> provider_pb2.GetSchemaResponse:
        """Return a schema without resources: programs in Python do not need one."""
        del request, context
        return provider_pb2.GetSchemaResponse(schema='{"name": "kubernetes"}')

    async def CheckConfig(  # noqa: N802
        self, request: provider_pb2.CheckRequest, context: Context
    ) -> provider_pb2.CheckResponse:
        """Take the provider's inputs as they are; `Configure` reads them."""
        del context
        return provider_pb2.CheckResponse(inputs=request.news)

    async def DiffConfig(  # noqa: N802
        self, request: provider_pb2.DiffRequest, context: Context
    ) -> provider_pb2.DiffResponse:
        """Replace the provider, and with it all its resources, when it leads to another cluster."""
        del context
        old, new = reveal(decode(request.olds)), reveal(decode(request.news))
        changed = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key) and key != "version")
        if not changed:
            return provider_pb2.DiffResponse(changes=provider_pb2.DiffResponse.DIFF_NONE)
        cluster_keys = [key for key in ("kubeconfig", "context", "cluster") if key in changed]
        replaces = [key for key in cluster_keys if has_unknown(new.get(key))]
        if not replaces:
            before, after = settings.active_cluster(old), settings.active_cluster(new)
            if before is not None and after is not None and before != after:
                replaces = cluster_keys
        identifier = new.get("clusterIdentifier")
        if identifier and identifier == old.get("clusterIdentifier"):
            replaces = []
        elif identifier and old.get("clusterIdentifier"):
            replaces = ["clusterIdentifier"]
        return provider_pb2.DiffResponse(changes=provider_pb2.DiffResponse.DIFF_SOME, diffs=changed, replaces=replaces)

    async def Configure(  # noqa: N802
        self, request: provider_pb2.ConfigureRequest, context: Context
    ) -> provider_pb2.ConfigureResponse:
        """Resolve the settings; the cluster is connected to when it is first needed."""
        try:
            self._cluster = Cluster(settings.resolve(dict(request.variables)))
        except settings.ConfigurationError as error:
            await _fail(context, f"provider kubernetes: {error}", grpc.StatusCode.INVALID_ARGUMENT)
        return provider_pb2.ConfigureResponse(
            acceptSecrets=True, supportsPreview=True, supports_autonaming_configuration=True
        )

    @property
    def cluster(self) -> Cluster:
        """The cluster; the engine configures a provider before it uses it."""
        assert self._cluster is not None  # noqa: S101
        return self._cluster

    async def Cancel(self, request: Empty, context: Context) -> Empty:  # noqa: N802
        """Take note; the engine ends the calls under way itself."""
        del request, context
        return Empty()

    async def Attach(self, request: plugin_pb2.PluginAttach, context: Context) -> Empty:  # noqa: N802
        """Use another engine's address."""
        del context
        self.host = Host(request.address)
        return Empty()

    # ---- resources ----

    async def Check(self, request: provider_pb2.CheckRequest, context: Context) -> provider_pb2.CheckResponse:  # noqa: N802
        """Complete a program's inputs with a name and a namespace."""
        if tokens.type_of(request.urn) == tokens.RELEASE:
            return await (await self._releases()).check(request, context)
        news, olds = decode(request.news), decode(request.olds)
        try:
            inputs = check.prepared(without_nulls(news), request.urn)
            proposed = None
            if request.HasField("autonaming"):
                disabled = request.autonaming.mode == provider_pb2.CheckRequest.AutonamingOptions.DISABLE
                proposed = "" if disabled else request.autonaming.proposed_name
            inputs = check.with_name(inputs, olds, request.urn, request.randomSeed, proposed)
        except check.InputError as error:
            field, _, reason = str(error).partition(": ")
            failure = provider_pb2.CheckFailure(property=field, reason=reason or field)
            return provider_pb2.CheckResponse(inputs=request.news, failures=[failure])
        gvk = tokens.gvk_of(reveal({"apiVersion": inputs["apiVersion"], "kind": inputs["kind"]}))
        if await self.cluster.namespaced(gvk):
            inputs = check.with_namespace(inputs, self.cluster.settings.namespace)
        if gvk.kind == "CustomResourceDefinition":
            self.cluster.learn(reveal(inputs))
        return provider_pb2.CheckResponse(inputs=encode(objects.annotate_secrets(inputs, {})))

    async def Diff(self, request: provider_pb2.DiffRequest, context: Context) -> provider_pb2.DiffResponse:  # noqa: N802
        """Compare inputs, without asking the server."""
        if tokens.type_of(request.urn) == tokens.RELEASE:
            return await (await self._releases()).diff(request, context)
        state = decode(request.olds)
        old = reveal(decode(request.old_inputs)) if request.HasField("old_inputs") else objects.inputs_of(state)
        new = reveal(decode(request.news))
        found = diff.difference(
            without_nulls(old), without_nulls(new), self._forcing(request.urn, new), tuple(request.ignoreChanges)
        )
        replaces = found.replaces
        if objects.annotation(new, objects.REPLACE_UNREADY) == "true" and new.get("kind") == "Job":
            live = objects.live_of(state)
            newest = await self._read(live, live)
            if newest is not None and await lifecycle.unreadiness(self.cluster, new, newest):
                replaces.append('.metadata.annotations["pulumi.com/replaceUnready"]')
        some = bool(found.changes or replaces)
        response = provider_pb2.DiffResponse(
            changes=provider_pb2.DiffResponse.DIFF_SOME if some else provider_pb2.DiffResponse.DIFF_NONE,
            replaces=replaces,
            deleteBeforeReplace=found.delete_first,
            hasDetailedDiff=True,
        )
        for path, change in found.changes.items():
            response.detailedDiff[path].kind = _KINDS[(change.kind, change.replace)]
            response.detailedDiff[path].inputDiff = change.kind == "delete"
        return response

    def _forcing(self, urn: str, inputs: Mapping[str, Any]) -> tuple[str, ...]:
        gvk = tokens.gvk_of(dict(inputs))
        if tokens.is_patch(urn, gvk.kind):
            return ("metadata.name", "metadata.namespace")
        chosen = self.cluster.settings
        return diff.force_new(
            gvk, inputs, config_map_mutable=chosen.config_map_mutable, secret_mutable=chosen.secret_mutable
        )

    async def Create(self, request: provider_pb2.CreateRequest, context: Context) -> provider_pb2.CreateResponse:  # noqa: N802
        """Create an object, or try it out in a preview."""
        if tokens.type_of(request.urn) == tokens.RELEASE:
            return await (await self._releases()).create(request, context)
        inputs = decode(request.properties)
        plain = reveal(inputs)
        target = self._target(request.urn, plain, None, request)
        if request.preview and (has_unknown(plain) or target.is_patch or not await self._serves(plain)):
            return provider_pb2.CreateResponse(properties=request.properties)
        try:
            live = await lifecycle.create(self.cluster, target, self.host.teller(request.urn))
        except lifecycle.NoPreviewError:
            return provider_pb2.CreateResponse(properties=request.properties)
        except PartialError as error:
            await _partially(context, error, self._state(plain, error.live, inputs, target.manager), None)
        except (OperationError, UnreachableError) as error:
            await _fail(context, str(error))
        if request.preview:
            live = {key: value for key, value in live.items() if key != "status"}
        return provider_pb2.CreateResponse(
            id="" if request.preview else objects.identity(live),
            properties=self._state(plain, live, inputs, target.manager),
        )

    async def Update(self, request: provider_pb2.UpdateRequest, context: Context) -> provider_pb2.UpdateResponse:  # noqa: N802
        """Apply new inputs to an object, or try that out in a preview."""
        if tokens.type_of(request.urn) == tokens.RELEASE:
            return await (await self._releases()).update(request, context)
        inputs = decode(request.news)
        plain, state = reveal(inputs), decode(request.olds)
        target = self._target(request.urn, plain, objects.manager_of(state), request)
        if request.preview and (has_unknown(plain) or not await self._serves(plain)):
            return provider_pb2.UpdateResponse(properties=request.news)
        try:
            live = await lifecycle.update(self.cluster, target, objects.live_of(state), self.host.teller(request.urn))
        except lifecycle.NoPreviewError:
            return provider_pb2.UpdateResponse(properties=request.news)
        except PartialError as error:
            await _partially(context, error, self._state(plain, error.live, inputs, target.manager), None)
        except (OperationError, UnreachableError) as error:
            await _fail(context, str(error))
        return provider_pb2.UpdateResponse(properties=self._state(plain, live, inputs, target.manager))

    async def Read(self, request: provider_pb2.ReadRequest, context: Context) -> provider_pb2.ReadResponse:  # noqa: N802
        """Bring state and inputs up to the live object; an object that is gone answers with an empty id."""
        if tokens.type_of(request.urn) == tokens.RELEASE:
            return await (await self._releases()).read(request, context)
        state, old_inputs = decode(request.properties), decode(request.inputs)
        plain_inputs = reveal(old_inputs)
        gvk = self._gvk(request.urn, plain_inputs, state)
        namespace, name = objects.split_identity(request.id)
        wanted = {"apiVersion": gvk.api_version, "kind": gvk.kind, "metadata": {"name": name, "namespace": namespace}}
        try:
            live = await self._read(wanted, wanted)
        except (OperationError, UnreachableError) as error:
            if isinstance(error, UnreachableError) and self.cluster.settings.delete_unreachable:
                return provider_pb2.ReadResponse()
            await _fail(context, str(error))
        if live is None:
            return provider_pb2.ReadResponse()
        known = bool(plain_inputs)
        inputs = objects.prune(live, plain_inputs) if known else objects.imported_inputs(live)
        manager = objects.manager_of(state) or _manager(request.urn, plain_inputs)
        properties = self._state(inputs, live, old_inputs, manager)
        marked = encode(objects.annotate_secrets(inputs, old_inputs))
        if known and not tokens.is_patch(request.urn, gvk.kind):
            reasons = await lifecycle.unreadiness(self.cluster, plain_inputs, live)
            if reasons:
                trouble = PartialError("; ".join(reasons), live=live, reasons=reasons)
                await _partially(context, trouble, properties, marked)
        return provider_pb2.ReadResponse(id=request.id, properties=properties, inputs=marked)

    async def Delete(self, request: provider_pb2.DeleteRequest, context: Context) -> Empty:  # noqa: N802
        """Delete an object and wait until it is gone."""
        if tokens.type_of(request.urn) == tokens.RELEASE:
            return await (await self._releases()).delete(request, context)
        state = decode(request.properties)
        inputs = objects.inputs_of(state)
        gvk = self._gvk(request.urn, inputs, state)
        namespace, name = objects.split_identity(request.id)
        live = {"apiVersion": gvk.api_version, "kind": gvk.kind, "metadata": {"name": name, "namespace": namespace}}
        target = self._target(request.urn, {**inputs, "kind": gvk.kind}, objects.manager_of(state), request)
        try:
            await lifecycle.delete(self.cluster, target, live, self.host.teller(request.urn))
        except PartialError as error:
            await _partially(context, error, self._state(inputs, error.live, state, target.manager), None)
        except UnreachableError as error:
            if not self.cluster.settings.delete_unreachable:
                await _fail(context, f"configured Kubernetes cluster is unreachable: {error}")
        except OperationError as error:
            await _fail(context, str(error))
        return Empty()

    async def Invoke(self, request: provider_pb2.InvokeRequest, context: Context) -> provider_pb2.InvokeResponse:  # noqa: N802
        """Answer the functions that the SDK's own components call."""
        from inferstack.rehearsal.providers.kubernetes import invoke  # noqa: PLC0415  # rarely used, start is timed

        try:
            answer = await invoke.invoke(request.tok, reveal(decode(request.args)), self._cluster)
        except invoke.InvokeError as error:
            await _fail(context, str(error), grpc.StatusCode.UNIMPLEMENTED)
        return provider_pb2.InvokeResponse(**{"return": encode(answer)})

    async def Construct(  # noqa: N802
        self, request: provider_pb2.ConstructRequest, context: Context
    ) -> provider_pb2.ConstructResponse:
        """Refuse components that the vendor's provider builds, naming what to use here."""
        instead = _CONSTRUCT_HELP.get(request.type, "use the resources themselves")
        await _fail(
            context,
            f"{request.type} is built inside the vendor's provider, which the stand-in does not do: {instead}, or "
            "install the vendor's plugin",
            grpc.StatusCode.UNIMPLEMENTED,
        )

    # ---- helpers ----

    def _target(self, urn: str, inputs: Properties, manager: str | None, request: Any) -> lifecycle.Target:
        return lifecycle.Target(
            urn=urn,
            inputs=without_nulls(inputs),
            manager=objects.annotation(inputs, objects.PATCH_FIELD_MANAGER) or manager or _manager(urn, inputs),
            is_patch=tokens.is_patch(urn, str(inputs.get("kind"))),
            preview=getattr(request, "preview", False),
            timeout=request.timeout,
            ignored=tuple(getattr(request, "ignoreChanges", ())),
        )

    def _gvk(self, urn: str, inputs: Properties, state: Properties) -> tokens.Gvk:
        for source in (inputs, state):
            if source.get("apiVersion") and source.get("kind"):
                return tokens.gvk_of(source)
        found = tokens.gvk_of_token(tokens.type_of(urn))
        return tokens.Gvk(found.group, found.version, found.kind.removesuffix("Patch"))

    async def _serves(self, inputs: Properties) -> bool:
        return await self.cluster.serves(tokens.gvk_of(inputs))

    async def _read(self, wanted: Properties, live: Properties) -> Properties | None:
        meta = live["metadata"]
        return await lifecycle.read(
            self.cluster, wanted["apiVersion"], wanted["kind"], meta.get("namespace"), meta["name"]
        )

    def _state(self, inputs: Properties, live: Properties, marked: Properties, manager: str) -> struct_pb2.Struct:
        return encode(objects.checkpoint(inputs, live, marked, manager))

    async def _releases(self) -> Any:
        """Return the handler of Helm releases, imported when the program has one."""
        from inferstack.rehearsal.providers.kubernetes.releases import Releases  # noqa: PLC0415

        return Releases(self.cluster, self.host)


def _manager(urn: str, inputs: Properties) -> str:
    """Return a resource's field manager: from its URN, so that an interrupted creation is taken up under its name."""
    chosen = objects.annotation(inputs, objects.PATCH_FIELD_MANAGER)
    return chosen or f"pulumi-kubernetes-{check.unique_suffix(b'field manager', urn)}"


async def _fail(context: Context, message: str, code: grpc.StatusCode = grpc.StatusCode.UNKNOWN) -> NoReturn:
    await context.abort(code, message)
    raise AssertionError("abort raises")


async def _partially(
    context: Context, error: PartialError, state: struct_pb2.Struct, inputs: struct_pb2.Struct | None
) -> NoReturn:
    """Answer that the object exists but is not as it should be; the engine keeps its state with the reasons."""
    detail = provider_pb2.ErrorResourceInitFailed(
        id=objects.identity(error.live), properties=state, reasons=[str(error), *error.reasons], inputs=inputs
    )
    status = status_pb2.Status(code=grpc.StatusCode.UNKNOWN.value[0], message=str(error))
    status.details.add().Pack(detail)
    await context.abort(
        grpc.StatusCode.UNKNOWN,
        str(error),
        trailing_metadata=(("grpc-status-details-bin", status.SerializeToString()),),
    )
    raise AssertionError("abort raises")


async def serve() -> None:
    """Serve until the engine ends this process."""
    server = grpc.aio.server(options=_UNLIMITED)
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(KubernetesProvider(sys.argv[-1]), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    sys.stdout.write(f"{port}\n")
    lifeline.follow_engine()
    await server.wait_for_termination()


def main() -> None:
    """Be the plugin's process."""
    asyncio.run(serve())
