"""Calls of the helm binary. Values and passwords never appear on a command line."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inferstack.engine.plugin_process import kill_with_parent
from standins.kubernetes.settings import Settings

Release = Mapping[str, Any]
"""Inputs of a release in plain form, with the vendor's names."""


class HelmError(Exception):
    """Helm failed; the message is helm's output."""


@dataclass(frozen=True)
class Helm:
    """Helm for one release: binary, environment and a private folder for files."""

    binary: str
    environment: Mapping[str, str]
    folder: Path

    async def run(self, *arguments: str, given: str | None = None) -> str:
        """Run helm and return its stdout.

        Raises:
            HelmError: helm failed.
        """
        process = await asyncio.create_subprocess_exec(
            *kill_with_parent(),  # an orphaned helm would continue to change the release
            self.binary,
            *arguments,
            env=dict(self.environment),
            stdin=asyncio.subprocess.PIPE if given is not None else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            out, err = await process.communicate(given.encode() if given is not None else None)
        finally:
            if process.returncode is None:
                process.kill()
        if process.returncode:
            raise HelmError(_reason(err.decode(errors="replace")))
        return out.decode(errors="replace")

    async def json(self, *arguments: str) -> Any:
        """Run helm and parse its output."""
        return json.loads(await self.run(*arguments, "--output", "json"))

    def write(self, name: str, text: str) -> str:
        """Write a file that only its owner can read, and return its path."""
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_text(text)
        return str(path)


def _reason(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith(("WARNING", "level="))]
    return "\n".join(lines).removeprefix("Error: ") or "helm failed without output"


def _binary() -> str:
    binary = shutil.which("helm")
    if binary is None:
        # Imported only if helm is not on PATH; the engine's environment has helm on PATH once the tools are resolved.
        from inferstack.toolchain.binaries import locate  # noqa: PLC0415

        path = locate("helm")
        binary = str(path) if path is not None else None
    if binary is None:
        raise HelmError("helm is not on PATH; build it with `inferstack tools`")
    return binary


@asynccontextmanager
async def helm_for(settings: Settings) -> AsyncIterator[Helm]:
    """Yield helm with the provider's cluster and settings; delete its files afterwards."""
    with tempfile.TemporaryDirectory(prefix="inferstack-helm-") as name:
        helm = Helm(_binary(), {}, Path(name))
        environment = dict(os.environ)
        if settings.kubeconfig is not None:
            environment["KUBECONFIG"] = helm.write("kubeconfig", json.dumps(settings.kubeconfig))
        if settings.context:
            environment["HELM_KUBECONTEXT"] = settings.context
        for key, variable in (
            ("driver", "HELM_DRIVER"),
            ("pluginsPath", "HELM_PLUGINS"),
            ("registryConfigPath", "HELM_REGISTRY_CONFIG"),
            ("repositoryCache", "HELM_REPOSITORY_CACHE"),
            ("repositoryConfigPath", "HELM_REPOSITORY_CONFIG"),
        ):
            if settings.helm.get(key):
                environment[variable] = str(settings.helm[key])
        yield Helm(helm.binary, environment, helm.folder)


async def chart_arguments(helm: Helm, release: Release) -> tuple[Helm, list[str]]:
    """Return helm, logged in if the chart's source requires a login, and the arguments that name the chart."""
    source = release.get("repositoryOpts") or {}
    chart = release["chart"]
    chart = chart.get("path") or chart.get("uri") or "" if isinstance(chart, dict) else str(chart)
    arguments = []
    repo = source.get("repo")
    if source.get("username"):
        helm, chart = await _with_login(helm, chart, source)
    elif repo and str(repo).startswith("oci://"):
        chart = f"{str(repo).rstrip('/')}/{chart}"
    elif repo:
        arguments += ["--repo", str(repo)]
    for key, flag in (("caFile", "--ca-file"), ("certFile", "--cert-file"), ("keyFile", "--key-file")):
        if source.get(key):
            arguments += [flag, str(source[key])]
    for key, flag in (("version", "--version"), ("keyring", "--keyring")):
        if release.get(key):
            arguments += [flag, str(release[key])]
    for key, flag in (("devel", "--devel"), ("verify", "--verify")):
        if release.get(key):
            arguments.append(flag)
    return helm, [chart, *arguments]


async def _with_login(helm: Helm, chart: str, source: Mapping[str, Any]) -> tuple[Helm, str]:
    """Log in to a chart repository or OCI registry with configuration files that only this release uses."""
    repo = str(source.get("repo") or chart)
    user, password = str(source["username"]), str(source.get("password") or "")
    if repo.startswith("oci://"):
        mine = {**helm.environment, "HELM_REGISTRY_CONFIG": str(helm.folder / "registry.json")}
        helm = Helm(helm.binary, mine, helm.folder)
        host = repo.removeprefix("oci://").partition("/")[0]
        flags = ["--ca-file", str(source["caFile"])] if source.get("caFile") else []
        await helm.run("registry", "login", host, "--username", user, "--password-stdin", *flags, given=password)
        return helm, repo if repo == chart else f"{repo.rstrip('/')}/{chart}"
    entry = {"name": "source", "url": repo, "username": user, "password": password}
    for key in ("caFile", "certFile", "keyFile"):
        if source.get(key):
            entry[key] = str(source[key])
    mine = {
        **helm.environment,
        "HELM_REPOSITORY_CONFIG": helm.write(
            "repositories.yaml", json.dumps({"apiVersion": "v1", "repositories": [entry]})
        ),
        "HELM_REPOSITORY_CACHE": str(helm.folder / "cache"),
    }
    helm = Helm(helm.binary, mine, helm.folder)
    await helm.run("repo", "update", "source")
    return helm, f"source/{chart}"


def value_arguments(helm: Helm, release: Release) -> list[str]:
    """Return the arguments that pass a release's values in files that only their owner can read."""
    arguments = []
    for index, asset in enumerate(release.get("valueYamlFiles") or []):
        path = asset.get("path") or asset.get("uri") if isinstance(asset, dict) else asset
        if isinstance(asset, dict) and asset.get("text") is not None:
            path = helm.write(f"file-{index}.yaml", str(asset["text"]))
        arguments += ["--values", str(path)]
    if release.get("values"):
        arguments += ["--values", helm.write("values.yaml", json.dumps(release["values"]))]
    return arguments


_BOTH = {
    "atomic": "--atomic",
    "dependencyUpdate": "--dependency-update",
    "disableOpenapiValidation": "--disable-openapi-validation",
    "disableWebhooks": "--no-hooks",
    "forceUpdate": "--force",
    "renderSubchartNotes": "--render-subchart-notes",
    "skipCrds": "--skip-crds",
    "waitForJobs": "--wait-for-jobs",
}
_INSTALL = {"createNamespace": "--create-namespace", "replace": "--replace"}
_UPGRADE = {
    "cleanupOnFail": "--cleanup-on-fail",
    "resetValues": "--reset-values",
    "reuseValues": "--reuse-values",
}


def option_arguments(release: Release, verb: str, timeout: float) -> list[str]:
    """Return the options of an install or an upgrade.

    Args:
        release: the inputs.
        verb: ``install`` or ``upgrade``.
        timeout: ``customTimeouts`` in seconds, or 0 if unset.
    """
    flags = _BOTH | (_INSTALL if verb == "install" else _UPGRADE)
    arguments = [flag for key, flag in flags.items() if release.get(key)]
    if not release.get("skipAwait"):
        arguments.append("--wait")
    seconds = timeout or float(release.get("timeout") or 300)
    arguments += ["--timeout", f"{seconds:g}s"]
    if release.get("description"):
        arguments += ["--description", str(release["description"])]
    if release.get("postrender"):
        arguments += ["--post-renderer", str(release["postrender"])]
    if verb == "upgrade" and release.get("maxHistory") is not None:
        arguments += ["--history-max", f"{release['maxHistory']:g}"]
    return arguments


async def status(helm: Helm, namespace: str, name: str) -> dict[str, Any] | None:
    """Return helm's status of a release, or None if the release does not exist."""
    try:
        release = await helm.json("status", name, "--namespace", namespace)
    except HelmError as error:
        if "not release" in str(error):
            return None
        raise
    return dict(release)


async def last_good_revision(helm: Helm, namespace: str, name: str) -> int | None:
    """Return the newest revision of a release that was deployed successfully."""
    with contextlib.suppress(HelmError):
        history = await helm.json("history", name, "--namespace", namespace)
        good = [int(entry["revision"]) for entry in history if entry.get("status") in ("deployed", "superseded")]
        return max(good, default=None)
    return None
