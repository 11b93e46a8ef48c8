"""All resources that are Kubernetes objects: translates the engine's messages into operations and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from google.protobuf import struct_pb2
from google.protobuf.empty_pb2 import Empty
from pulumi.runtime.proto import provider_pb2

from inferstack.engine.properties import Properties, decode, encode, has_unknown, redact, reveal, without_nulls
from standins.kubernetes import check, diff, lifecycle, objects, tokens
from standins.kubernetes.cluster import Cluster, UnreachableError
from standins.kubernetes.engine import Context, EngineLog, diff_response, fail, fail_partially
from standins.kubernetes.errors import OperationError, PartialError


class Manifests:
    """Answers the engine's calls for Kubernetes objects."""

    def __init__(self, cluster: Cluster, engine_log: EngineLog) -> None:
        self.cluster = cluster
        self.engine_log = engine_log

    async def check(self, request: provider_pb2.CheckRequest) -> provider_pb2.CheckResponse:
        """Add a name and a namespace to a program's inputs."""
        try:
            inputs = check.normalize_inputs(without_nulls(decode(request.news)), request.urn)
            inputs = check.assign_name(
                inputs, decode(request.olds), request.urn, request.randomSeed, _proposed(request)
            )
        except check.InputError as error:
            field, _, reason = str(error).partition(": ")
            failure = provider_pb2.CheckFailure(property=field if reason else "", reason=reason or field)
            return provider_pb2.CheckResponse(inputs=request.news, failures=[failure])
        gvk = tokens.gvk_of(reveal({"apiVersion": inputs["apiVersion"], "kind": inputs["kind"]}))
        if await self.cluster.is_namespaced(gvk):
            inputs = check.assign_namespace(inputs, self.cluster.settings.namespace)
        if gvk.kind == "CustomResourceDefinition":
            self.cluster.register_crd(reveal(inputs))
        return provider_pb2.CheckResponse(inputs=encode(objects.annotate_secrets(inputs, {})))

    async def diff(self, request: provider_pb2.DiffRequest) -> provider_pb2.DiffResponse:
        """Compare inputs without a request to the server."""
        state = decode(request.olds)
        old = reveal(decode(request.old_inputs)) if request.HasField("old_inputs") else objects.inputs_of(state)
        new = reveal(decode(request.news))
        result = diff.compare(
            without_nulls(old), without_nulls(new), self._forcing(request.urn, new), tuple(request.ignoreChanges)
        )
        also: tuple[str, ...] = ()
        if objects.annotation(new, objects.REPLACE_UNREADY) == "true" and new.get("kind") == "Job":
            live = await self._read(objects.live_of(state))
            if live is not None and await lifecycle.unready_reasons(self.cluster, new, live):
                also = ('.metadata.annotations["pulumi.com/replaceUnready"]',)
        return diff_response(result.changes, delete_first=result.delete_first, also_replaces=also)

    def _forcing(self, urn: str, inputs: Mapping[str, Any]) -> tuple[str, ...]:
        gvk = tokens.gvk_of(dict(inputs))
        if tokens.is_patch(urn, gvk.kind):
            return ("metadata.name", "metadata.namespace")
        chosen = self.cluster.settings
        return diff.force_new(
            gvk, inputs, config_map_mutable=chosen.config_map_mutable, secret_mutable=chosen.secret_mutable
        )

    async def create(self, request: provider_pb2.CreateRequest, context: Context) -> provider_pb2.CreateResponse:
        """Create an object, with a dry run in a preview."""
        inputs = decode(request.properties)
        plain = reveal(inputs)
        target = _target(request.urn, plain, None, request)
        if request.preview and (has_unknown(plain) or target.is_patch or not await self._serves(plain)):
            return provider_pb2.CreateResponse(properties=request.properties)
        try:
            live = await lifecycle.create(self.cluster, target, self.engine_log.status_reporter(request.urn))
        except lifecycle.PreviewUnavailableError:
            return provider_pb2.CreateResponse(properties=request.properties)
        except (OperationError, PartialError, UnreachableError) as error:
            await _fail_operation(context, error, plain, inputs, target.manager)
        if request.preview:
            live = {key: value for key, value in live.items() if key != "status"}
        return provider_pb2.CreateResponse(
            id="" if request.preview else objects.resource_id(live),
            properties=_state(plain, live, inputs, target.manager),
        )

    async def update(self, request: provider_pb2.UpdateRequest, context: Context) -> provider_pb2.UpdateResponse:
        """Apply new inputs to an object, with a dry run in a preview."""
        inputs = decode(request.news)
        plain, state = reveal(inputs), decode(request.olds)
        target = _target(request.urn, plain, objects.manager_of(state), request)
        if request.preview and (has_unknown(plain) or not await self._serves(plain)):
            return provider_pb2.UpdateResponse(properties=request.news)
        try:
            live = await lifecycle.update(
                self.cluster, target, objects.live_of(state), self.engine_log.status_reporter(request.urn)
            )
        except lifecycle.PreviewUnavailableError:
            return provider_pb2.UpdateResponse(properties=request.news)
        except (OperationError, PartialError, UnreachableError) as error:
            await _fail_operation(context, error, plain, inputs, target.manager)
        return provider_pb2.UpdateResponse(properties=_state(plain, live, inputs, target.manager))

    async def read(self, request: provider_pb2.ReadRequest, context: Context) -> provider_pb2.ReadResponse:
        """Refresh state and inputs from the live object; the ID is empty if the object is gone."""
        state, old_inputs = decode(request.properties), decode(request.inputs)
        plain = reveal(old_inputs)
        try:
            live = await self._read(_named(request.urn, request.id, plain, state))
        except UnreachableError as error:
            if self.cluster.settings.delete_unreachable:
                return provider_pb2.ReadResponse()
            await fail(context, f"configured Kubernetes cluster is unreachable: {error}")
        except OperationError as error:
            await fail(context, str(error))
        if live is None:
            return provider_pb2.ReadResponse()
        self.cluster.in_flight.end(request.urn)
        inputs = objects.prune(live, plain) if plain else objects.imported_inputs(live)
        manager = objects.manager_of(state) or _manager(request.urn, plain)
        properties = _state(inputs, live, old_inputs, manager)
        marked = encode(objects.annotate_secrets(inputs, old_inputs))
        if plain and not tokens.is_patch(request.urn, str(live["kind"])):
            reasons = await lifecycle.unready_reasons(self.cluster, plain, live)
            if reasons:
                trouble = PartialError("; ".join(reasons), live=live, reasons=reasons)
                await fail_partially(context, request.id, trouble, properties, marked)
        return provider_pb2.ReadResponse(id=request.id, properties=properties, inputs=marked)

    async def delete(self, request: provider_pb2.DeleteRequest, context: Context) -> Empty:
        """Delete an object and wait for the deletion."""
        state = decode(request.properties)
        inputs = objects.inputs_of(state)
        live = _named(request.urn, request.id, inputs, state)
        target = _target(request.urn, {**inputs, "kind": live["kind"]}, objects.manager_of(state), request)
        try:
            await lifecycle.delete(self.cluster, target, live, self.engine_log.status_reporter(request.urn))
        except UnreachableError as error:
            if not self.cluster.settings.delete_unreachable:
                await fail(context, f"configured Kubernetes cluster is unreachable: {error}")
        except (OperationError, PartialError) as error:
            await _fail_operation(context, error, inputs, state, target.manager)
        return Empty()

    async def _serves(self, inputs: Properties) -> bool:
        return await self.cluster.serves(tokens.gvk_of(inputs))

    async def _read(self, wanted: Properties) -> Properties | None:
        meta = wanted["metadata"]
        return await lifecycle.read(
            self.cluster, wanted["apiVersion"], wanted["kind"], meta.get("namespace"), meta["name"]
        )


def _proposed(request: provider_pb2.CheckRequest) -> str | None:
    """Return the engine's name for a resource, "" if naming is disabled, or None if the provider chooses the name."""
    if not request.HasField("autonaming"):
        return None
    disabled = request.autonaming.mode == provider_pb2.CheckRequest.AutonamingOptions.DISABLE
    return "" if disabled else request.autonaming.proposed_name


def _named(urn: str, identity: str, inputs: Properties, state: Properties) -> Properties:
    """Return the object identified by an ID, with only its identity."""
    gvk = next(
        (tokens.gvk_of(source) for source in (inputs, state) if source.get("apiVersion") and source.get("kind")), None
    )
    if gvk is None:
        typed = tokens.gvk_of_token(tokens.type_of(urn))
        gvk = tokens.Gvk(typed.group, typed.version, typed.kind.removesuffix("Patch"))
    namespace, name = objects.parse_resource_id(identity)
    return {"apiVersion": gvk.api_version, "kind": gvk.kind, "metadata": {"name": name, "namespace": namespace}}


def _target(urn: str, inputs: Properties, manager: str | None, request: Any) -> lifecycle.Target:
    return lifecycle.Target(
        urn=urn,
        inputs=without_nulls(inputs),
        manager=objects.annotation(inputs, objects.PATCH_FIELD_MANAGER) or manager or _manager(urn, inputs),
        is_patch=tokens.is_patch(urn, str(inputs.get("kind"))),
        preview=getattr(request, "preview", False),
        timeout=request.timeout,
        ignored=tuple(getattr(request, "ignoreChanges", ())),
    )


def _manager(urn: str, inputs: Properties) -> str:
    """Return a resource's field manager, derived from its URN so that an interrupted creation resumes with it."""
    chosen = objects.annotation(inputs, objects.PATCH_FIELD_MANAGER)
    return chosen or f"pulumi-kubernetes-{check.unique_suffix(b'field manager', urn)}"


def _state(inputs: Properties, live: Properties, marked: Properties, manager: str) -> struct_pb2.Struct:
    return encode(objects.checkpoint(inputs, live, marked, manager))


async def _fail_operation(
    context: Context,
    error: OperationError | PartialError | UnreachableError,
    inputs: Properties,
    marked: Properties,
    manager: str,
) -> NoReturn:
    """Report a failure; the message contains neither secrets of ``marked`` nor data of a Secret."""
    hidden = objects.annotate_secrets(marked, {})
    if not isinstance(error, PartialError):
        await fail(context, redact(str(error), hidden))
    trouble = PartialError(
        redact(str(error), hidden), live=error.live, reasons=[redact(reason, hidden) for reason in error.reasons]
    )
    await fail_partially(
        context, objects.resource_id(error.live), trouble, _state(inputs, error.live, marked, manager), None
    )
