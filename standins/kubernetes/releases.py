"""``kubernetes:helm.sh/v3:Release``: releases managed with the helm binary."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import yaml
from google.protobuf.empty_pb2 import Empty
from pulumi.runtime.proto import provider_pb2

from inferstack.engine.properties import UNKNOWN, Properties, decode, encode, has_unknown, redact, reveal
from standins.kubernetes import check, diff, tokens
from standins.kubernetes.engine import Context, diff_response, fail, fail_partially
from standins.kubernetes.errors import PartialError
from standins.kubernetes.helm import (
    Helm,
    HelmError,
    chart_arguments,
    helm_for,
    last_good_revision,
    option_arguments,
    status,
    value_arguments,
)
from standins.kubernetes.objects import annotate_secrets, parse_resource_id
from standins.kubernetes.settings import Settings

_INPUTS = "__inputs"
_OUTPUTS = frozenset({_INPUTS, "checksum", "manifest", "resourceNames", "status"})
_log = logging.getLogger(__name__)


class Releases:
    """Answers the engine's calls for releases."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    async def check(self, request: provider_pb2.CheckRequest) -> provider_pb2.CheckResponse:
        """Set the name and namespace of a release, and resolve the version of the chart."""
        news = {key: value for key, value in decode(request.news).items() if value is not None}
        olds = decode(request.olds)
        if not news.get("name"):
            short = tokens.name_of(request.urn)
            news["name"] = olds.get("name") or f"{short}-{check.unique_suffix(request.randomSeed, short)}"
        news.setdefault("namespace", self.settings.namespace)
        if not news.get("chart"):
            failure = provider_pb2.CheckFailure(property="chart", reason="a release needs a chart")
            return provider_pb2.CheckResponse(inputs=request.news, failures=[failure])
        failures = []
        if not has_unknown(news):
            try:
                news["version"] = await self._version(reveal(news))
            except HelmError as error:
                reason = f"{redact(str(error), news)}; check the chart name and repository configuration."
                failures.append(provider_pb2.CheckFailure(property="chart", reason=reason))
        return provider_pb2.CheckResponse(inputs=encode(news), failures=failures)

    async def _version(self, release: Properties) -> str:
        async with helm_for(self.settings) as helm:
            logged_in, chart = await chart_arguments(helm, release)
            shown = yaml.safe_load(await logged_in.run("show", "chart", *chart))
        return str(shown["version"])

    async def diff(self, request: provider_pb2.DiffRequest) -> provider_pb2.DiffResponse:
        """Compare inputs; a different name or namespace requires a replacement."""
        state = decode(request.olds)
        old = reveal(decode(request.old_inputs)) if request.HasField("old_inputs") else reveal(state.get(_INPUTS) or {})
        result = diff.compare(old, reveal(decode(request.news)), ("name", "namespace"), tuple(request.ignoreChanges))
        return diff_response(result.changes)

    async def create(self, request: provider_pb2.CreateRequest, context: Context) -> provider_pb2.CreateResponse:
        """Install a release, or render it in a preview."""
        inputs = decode(request.properties)
        if request.preview:
            return provider_pb2.CreateResponse(properties=encode(await self._preview(inputs, context)))
        plain = reveal(inputs)
        live = await self._apply(plain, "install", request.timeout, context, inputs)
        return provider_pb2.CreateResponse(id=f"{plain['namespace']}/{plain['name']}", properties=encode(live))

    async def update(self, request: provider_pb2.UpdateRequest, context: Context) -> provider_pb2.UpdateResponse:
        """Upgrade a release, or render it in a preview."""
        inputs = decode(request.news)
        if request.preview:
            return provider_pb2.UpdateResponse(properties=encode(await self._preview(inputs, context)))
        live = await self._apply(reveal(inputs), "upgrade", request.timeout, context, inputs)
        return provider_pb2.UpdateResponse(properties=encode(live))

    async def _preview(self, inputs: Properties, context: Context) -> Properties:
        """Render the chart with its values, so that schema violations are reported before the update."""
        if not has_unknown(inputs):
            release = reveal(inputs)
            try:
                async with helm_for(self.settings) as helm:
                    logged_in, chart = await chart_arguments(helm, release)
                    given = value_arguments(logged_in, release)
                    space = ["--namespace", str(release["namespace"])]
                    await logged_in.run("template", str(release["name"]), *chart, *given, *space)
            except HelmError as error:
                await fail(context, redact(str(error), inputs))
        return {**inputs, "status": UNKNOWN, "resourceNames": UNKNOWN}

    async def _apply(
        self, release: Properties, verb: str, seconds: float, context: Context, inputs: Properties
    ) -> Properties:
        """Install or upgrade a release, after recovery from an interrupted attempt."""
        async with helm_for(self.settings) as helm:
            namespace, name = str(release["namespace"]), str(release["name"])
            space = ["--namespace", namespace]
            try:
                if verb == "upgrade":
                    verb = await _recover_release(helm, namespace, name)
                logged_in, chart = await chart_arguments(helm, release)
                options = [*value_arguments(helm, release), *option_arguments(release, verb, seconds)]
                await logged_in.run(verb, name, *chart, *options, *space)
            except HelmError as error:
                text = f"Helm release {namespace}/{name}: {redact(str(error), inputs)}"
                release_status = await status(helm, namespace, name)
                if release_status is None or (verb == "install" and release.get("atomic")):
                    await fail(context, text)
                live = await _outputs(helm, release, inputs, release_status)
                await fail_partially(
                    context, f"{namespace}/{name}", PartialError(text, live={}, reasons=[text]), encode(live), None
                )
            release_status = await status(helm, namespace, name)
            return await _outputs(helm, release, inputs, release_status or {})

    async def read(self, request: provider_pb2.ReadRequest, context: Context) -> provider_pb2.ReadResponse:
        """Refresh state and inputs from helm's status of the release."""
        old = decode(request.inputs)
        namespace, name = parse_resource_id(request.id)
        namespace = namespace or self.settings.namespace
        async with helm_for(self.settings) as helm:
            try:
                release_status = await status(helm, namespace, name)
                if release_status is None:
                    return provider_pb2.ReadResponse()
                inputs = await _live_inputs(helm, namespace, name, reveal(old))
                marked = annotate_secrets(inputs, old)
                live = await _outputs(helm, inputs, marked, release_status)
            except HelmError as error:
                await fail(context, f"Helm release {request.id}: {error}")
        state = str((release_status.get("info") or {}).get("status"))
        if old and state not in ("deployed", "superseded", "uninstalling"):
            text = (
                f"Helm release {request.id} is {state}: {(release_status.get('info') or {}).get('description') or ''}"
            )
            trouble = PartialError(text, live={}, reasons=[text])
            await fail_partially(context, request.id, trouble, encode(live), encode(marked))
        return provider_pb2.ReadResponse(id=request.id, properties=encode(live), inputs=encode(marked))

    async def delete(self, request: provider_pb2.DeleteRequest, context: Context) -> Empty:
        """Uninstall a release and wait for the deletion of its objects."""
        namespace, name = parse_resource_id(request.id)
        state = reveal(decode(request.properties))
        seconds = request.timeout or float(state.get("timeout") or 300)
        arguments = ["--namespace", str(namespace), "--timeout", f"{seconds:g}s"]
        if not state.get("skipAwait"):
            arguments.append("--wait")
        async with helm_for(self.settings) as helm:
            try:
                await helm.run("uninstall", name, *arguments, "--ignore-not-found")
            except HelmError as error:
                await fail(context, f"Helm release {request.id} was not uninstalled: {error}")
        return Empty()


async def _recover_release(helm: Helm, namespace: str, name: str) -> str:
    """Return the verb for the next operation; first recover a release whose last operation was interrupted.

    A killed engine leaves helm's own lock (a ``pending-*`` status) behind. The engine's lock on the stack guarantees
    that no other Pulumi run is changing this release.
    """
    release_status = await status(helm, namespace, name)
    if release_status is None:
        return "install"
    state = str((release_status.get("info") or {}).get("status"))
    if not state.startswith("pending-") and state != "uninstalling":
        return "upgrade"
    good = await last_good_revision(helm, namespace, name)
    if good is None or state == "uninstalling":
        await helm.run("uninstall", name, "--namespace", namespace, "--wait", "--ignore-not-found")
        return "install"
    await helm.run("rollback", name, str(good), "--namespace", namespace)
    return "upgrade"


async def _outputs(
    helm: Helm, release: Properties, inputs: Properties, release_status: Mapping[str, Any]
) -> Properties:
    """Return the state of a release: its inputs, status and objects."""
    namespace, name = str(release["namespace"]), str(release["name"])
    info = release_status.get("info") or {}
    chart: Mapping[str, Any] = {}
    names: dict[str, list[str]] = {}
    try:
        chart = await helm.json("get", "metadata", name, "--namespace", namespace)
        names = resource_names(await helm.run("get", "manifest", name, "--namespace", namespace), namespace)
    except HelmError as error:
        _log.debug("release %s/%s: %s", namespace, name, error)  # the release failed before it had a manifest
    known = {
        "name": name,
        "namespace": namespace,
        "revision": release_status.get("version"),
        "status": info.get("status"),
        "chart": chart.get("chart"),
        "version": chart.get("version"),
        "appVersion": chart.get("appVersion"),
    }
    plain = {key: value for key, value in inputs.items() if key not in _OUTPUTS}
    return {**plain, "status": known, "resourceNames": names, _INPUTS: plain}


def resource_names(manifest: str, namespace: str) -> dict[str, list[str]]:
    """List the objects of a manifest by kind, as the vendor's provider does (``Kind/group/version: [ns/name]``)."""
    names: dict[str, list[str]] = {}
    for obj in yaml.load_all(manifest, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # both safe
        if not isinstance(obj, dict) or "kind" not in obj:
            continue
        gvk = tokens.gvk_of(obj)
        space = None if tokens.built_in_scope(gvk) is False else (obj["metadata"].get("namespace") or namespace)
        name = obj["metadata"]["name"]
        names.setdefault(f"{gvk.kind}/{gvk.api_version}", []).append(f"{space}/{name}" if space else name)
    return {kind: sorted(objects) for kind, objects in sorted(names.items())}


async def _live_inputs(helm: Helm, namespace: str, name: str, old: Properties) -> Properties:
    """Return the current inputs of a release: the old inputs with helm's current version and values."""
    chart = await helm.json("get", "metadata", name, "--namespace", namespace)
    values = await helm.json("get", "values", name, "--namespace", namespace) or {}
    inputs = {key: value for key, value in old.items() if key not in _OUTPUTS}
    if not inputs:
        return {
            "name": name,
            "namespace": namespace,
            "chart": chart.get("chart"),
            "version": chart.get("version"),
            "values": values,
        }
    inputs["version"] = chart.get("version")
    # Helm merges values from files into these, so the two cannot be separated again.
    if not inputs.get("valueYamlFiles") and (values or inputs.get("values")):
        inputs["values"] = values
    return inputs
