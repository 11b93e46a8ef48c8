"""The provider's gRPC service: configuration, and dispatch of resources to their handlers."""
# ruff: noqa: N802  # the methods have gRPC's names

from __future__ import annotations

import asyncio
import importlib.metadata
import sys
from typing import TYPE_CHECKING

import grpc
import grpc.aio
from google.protobuf.empty_pb2 import Empty
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

from inferstack.engine import plugin_process
from inferstack.engine.properties import decode, encode, has_unknown, reveal
from standins.kubernetes import settings, tokens
from standins.kubernetes.cluster import Cluster
from standins.kubernetes.engine import Context, EngineLog, fail
from standins.kubernetes.manifests import Manifests

if TYPE_CHECKING:
    from standins.kubernetes.releases import Releases


_UNLIMITED = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))
_CONSTRUCT_HELP = {
    "kubernetes:helm.sh/v4:Chart": "use kubernetes.helm.v3.Release",
    "kubernetes:yaml/v2:ConfigFile": "use kubernetes.yaml.ConfigFile",
    "kubernetes:yaml/v2:ConfigGroup": "use kubernetes.yaml.ConfigGroup",
    "kubernetes:kustomize/v2:Directory": "render it to a file and use kubernetes.yaml.ConfigFile",
}


class KubernetesProvider(provider_pb2_grpc.ResourceProviderServicer):
    """One configured provider; the engine starts a process for each provider resource of the program."""

    def __init__(self, engine_address: str) -> None:
        self.engine_log = EngineLog(engine_address)
        self._manifests: Manifests | None = None
        self._releases: Releases | None = None

    async def Handshake(
        self, request: provider_pb2.ProviderHandshakeRequest, context: Context
    ) -> provider_pb2.ProviderHandshakeResponse:
        """Report the features that this provider supports."""
        del context
        if request.engine_address:
            self.engine_log = EngineLog(request.engine_address)
        return provider_pb2.ProviderHandshakeResponse(accept_secrets=True, supports_autonaming_configuration=True)

    async def GetPluginInfo(self, request: Empty, context: Context) -> plugin_pb2.PluginInfo:
        """Return the version of the vendor's provider that this one replaces."""
        del request, context
        return plugin_pb2.PluginInfo(version=importlib.metadata.version("pulumi-kubernetes"))

    async def GetSchema(
        self, request: provider_pb2.GetSchemaRequest, context: Context
    ) -> provider_pb2.GetSchemaResponse:
        """Return a schema without resources, because Python programs need none."""
        del request, context
        return provider_pb2.GetSchemaResponse(schema='{"name": "kubernetes"}')

    async def CheckConfig(self, request: provider_pb2.CheckRequest, context: Context) -> provider_pb2.CheckResponse:
        """Accept the provider's inputs unchanged; `Configure` reads them."""
        del context
        return provider_pb2.CheckResponse(inputs=request.news)

    async def DiffConfig(self, request: provider_pb2.DiffRequest, context: Context) -> provider_pb2.DiffResponse:
        """Replace the provider and all its resources if the cluster changes."""
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

    async def Configure(
        self, request: provider_pb2.ConfigureRequest, context: Context
    ) -> provider_pb2.ConfigureResponse:
        """Resolve the settings; the connection to the cluster is opened on first use."""
        try:
            configuration = settings.resolve(dict(request.variables))
        except settings.ConfigurationError as error:
            await fail(context, f"provider kubernetes: {error}", grpc.StatusCode.INVALID_ARGUMENT)
        self._manifests = Manifests(Cluster(configuration), self.engine_log)
        self._releases = None
        return provider_pb2.ConfigureResponse(
            acceptSecrets=True, supportsPreview=True, supports_autonaming_configuration=True
        )

    async def Cancel(self, request: Empty, context: Context) -> Empty:
        """Acknowledge the cancellation; the engine itself ends the calls in progress."""
        del request, context
        return Empty()

    async def Attach(self, request: plugin_pb2.PluginAttach, context: Context) -> Empty:
        """Use another engine's address."""
        del context
        self.engine_log = EngineLog(request.address)
        return Empty()

    async def Check(self, request: provider_pb2.CheckRequest, context: Context) -> provider_pb2.CheckResponse:
        """Validate and complete a program's inputs."""
        del context
        return await self._for(request.urn).check(request)

    async def Diff(self, request: provider_pb2.DiffRequest, context: Context) -> provider_pb2.DiffResponse:
        """Report the changes of an update."""
        del context
        return await self._for(request.urn).diff(request)

    async def Create(self, request: provider_pb2.CreateRequest, context: Context) -> provider_pb2.CreateResponse:
        """Create a resource."""
        return await self._for(request.urn).create(request, context)

    async def Update(self, request: provider_pb2.UpdateRequest, context: Context) -> provider_pb2.UpdateResponse:
        """Update a resource in place."""
        return await self._for(request.urn).update(request, context)

    async def Read(self, request: provider_pb2.ReadRequest, context: Context) -> provider_pb2.ReadResponse:
        """Read a resource's live state."""
        return await self._for(request.urn).read(request, context)

    async def Delete(self, request: provider_pb2.DeleteRequest, context: Context) -> Empty:
        """Delete a resource."""
        return await self._for(request.urn).delete(request, context)

    async def Invoke(self, request: provider_pb2.InvokeRequest, context: Context) -> provider_pb2.InvokeResponse:
        """Execute a function that the SDK's components call."""
        from standins.kubernetes import invoke  # noqa: PLC0415  # rarely used, and an import slows down every start

        try:
            answer = await invoke.invoke(request.tok, reveal(decode(request.args)), self._configured().cluster.settings)
        except invoke.InvokeError as error:
            await fail(context, str(error), grpc.StatusCode.UNIMPLEMENTED)
        response = provider_pb2.InvokeResponse()
        getattr(response, "return").CopyFrom(encode(answer))  # the field's name is a Python keyword
        return response

    async def Construct(
        self, request: provider_pb2.ConstructRequest, context: Context
    ) -> provider_pb2.ConstructResponse:
        """Reject components that the vendor's provider builds, and name the alternative."""
        instead = _CONSTRUCT_HELP.get(request.type, "use the resources themselves")
        await fail(
            context,
            f"{request.type} is built inside the vendor's provider, which the stand-in does not do: {instead}, or "
            "install the vendor's plugin",
            grpc.StatusCode.UNIMPLEMENTED,
        )

    async def close(self) -> None:
        """Close the connections to the cluster."""
        if self._manifests is not None:
            await self._manifests.cluster.close()

    def _configured(self) -> Manifests:
        assert self._manifests is not None  # noqa: S101  # the engine configures a provider before using it
        return self._manifests

    def _for(self, urn: str) -> Manifests | Releases:
        manifests = self._configured()
        if tokens.type_of(urn) != tokens.RELEASE:
            return manifests
        if self._releases is None:
            from standins.kubernetes.releases import Releases  # noqa: PLC0415  # as above

            self._releases = Releases(manifests.cluster.settings)
        return self._releases


async def serve() -> None:
    """Serve until the engine stops this process."""
    server = grpc.aio.server(options=_UNLIMITED)
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(KubernetesProvider(sys.argv[-1]), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    sys.stdout.write(f"{port}\n")
    plugin_process.exit_with_engine()
    await server.wait_for_termination()


def main() -> None:
    """Run the plugin process."""
    asyncio.run(serve())
