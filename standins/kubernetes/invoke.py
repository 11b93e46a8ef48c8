"""Functions that components of the SDK call: decode YAML, render a chart."""

from __future__ import annotations

from typing import Any

import yaml

from standins.kubernetes.helm import HelmError, chart_arguments, helm_for, value_arguments
from standins.kubernetes.settings import Settings

Properties = dict[str, Any]


class InvokeError(Exception):
    """A function is not supported by the stand-in, or failed."""


async def invoke(token: str, args: Properties, settings: Settings) -> Properties:
    """Call a function of the provider.

    Raises:
        InvokeError: the function is not supported, or failed.
    """
    if token == "kubernetes:yaml:decode":  # noqa: S105  # a Pulumi token
        return {"result": _objects(str(args.get("text") or ""), args.get("defaultNamespace"))}
    if token == "kubernetes:helm:template":  # noqa: S105
        return {"result": await _template(args, settings)}
    raise InvokeError(
        f"the stand-in has no function {token}; it has kubernetes:yaml:decode and kubernetes:helm:template. "
        "Install the vendor's plugin for the others"
    )


def _objects(text: str, namespace: Any) -> list[Properties]:
    """Split YAML into objects; lists are split into their items."""
    try:
        documents = list(yaml.load_all(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))  # both safe
    except yaml.YAMLError as error:
        raise InvokeError(f"kubernetes:yaml:decode: {error}") from error
    objects: list[Properties] = []
    for document in documents:
        if not isinstance(document, dict):
            continue
        listed = document.get("items") if str(document.get("kind", "")).endswith("List") else None
        objects += listed if isinstance(listed, list) else [document]
    if namespace:
        for obj in objects:
            obj.setdefault("metadata", {}).setdefault("namespace", namespace)
    return objects


async def _template(args: Properties, settings: Settings) -> list[Properties]:
    options = args.get("jsonOpts")
    opts = yaml.safe_load(options) if isinstance(options, str) else args
    fetch = opts.get("fetch_opts") or {}
    release = {
        "chart": opts.get("path") or opts.get("chart"),
        "version": opts.get("version") or fetch.get("version"),
        "values": opts.get("values"),
        "devel": fetch.get("devel"),
        "repositoryOpts": {
            "repo": opts.get("repo") or fetch.get("repo"),
            "username": fetch.get("username"),
            "password": fetch.get("password"),
            "caFile": fetch.get("ca_file"),
        },
    }
    arguments = ["--namespace", str(opts.get("namespace") or settings.namespace)]
    if not opts.get("skip_crd_rendering"):
        arguments.append("--include-crds")
    for version in opts.get("api_versions") or []:
        arguments += ["--api-versions", str(version)]
    try:
        async with helm_for(settings) as helm:
            logged_in, chart = await chart_arguments(helm, release)
            name = str(opts.get("release_name") or "release-name")
            text = await logged_in.run("template", name, *chart, *value_arguments(helm, release), *arguments)
    except HelmError as error:
        raise InvokeError(f"kubernetes:helm:template: {error}") from error
    return _objects(text, None)
