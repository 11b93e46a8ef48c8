"""The provider's configuration: how to reach the cluster and how to apply objects."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

_PREFIX = "kubernetes:config:"

# Settings that can also come from the environment; the provider's argument takes precedence.
_FLAGS = {
    "deleteUnreachable": ("PULUMI_K8S_DELETE_UNREACHABLE", False),
    "enableServerSideApply": ("PULUMI_K8S_ENABLE_SERVER_SIDE_APPLY", True),
    "enablePatchForce": ("PULUMI_K8S_ENABLE_PATCH_FORCE", False),
    "upsertExistingObjects": ("PULUMI_K8S_UPSERT_EXISTING_OBJECTS", False),
    "enableConfigMapMutable": ("PULUMI_K8S_ENABLE_CONFIGMAP_MUTABLE", False),
    "enableSecretMutable": ("PULUMI_K8S_ENABLE_SECRET_MUTABLE", False),
}
_UNSUPPORTED = {
    "renderYamlToDirectory": "the stand-in has no way to render YAML instead of applying it",
    "skipUpdateUnreachable": "the stand-in does not go on without a cluster",
}


class ConfigurationError(Exception):
    """A setting is malformed or not supported by the stand-in; the message names the setting."""


@dataclass(frozen=True)
class Settings:
    """The provider's settings, resolved from its arguments and the environment."""

    kubeconfig: Mapping[str, Any] | None = None
    """The parsed kubeconfig of the provider, or None for the default one."""
    context: str | None = None
    namespace: str = "default"
    delete_unreachable: bool = False
    patch_force: bool = False
    upsert: bool = False
    config_map_mutable: bool = False
    secret_mutable: bool = False
    helm: Mapping[str, Any] = field(default_factory=dict)
    """``helmReleaseSettings``."""


def parse_kubeconfig(given: str) -> dict[str, Any]:
    """Read a kubeconfig from a path or from its content (YAML or JSON).

    Raises:
        ConfigurationError: the value is neither.
    """
    text = given
    if "\n" not in given and not given.lstrip().startswith("{"):
        path = Path(given).expanduser()
        if not path.exists():
            raise ConfigurationError(f"kubeconfig: file {given!r} does not exist")
        text = path.read_text()
    try:
        content = json.loads(text) if text.lstrip().startswith("{") else _yaml(text)
    except (ValueError, yaml.YAMLError) as error:
        raise ConfigurationError("kubeconfig: not a path, YAML or JSON") from error
    if not isinstance(content, dict) or "clusters" not in content:
        raise ConfigurationError("kubeconfig: no clusters defined")
    return _with_absolute_paths(content, Path(given).expanduser().parent if text is not given else None)


def _yaml(text: str) -> Any:
    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506  # both are safe loaders


def _with_absolute_paths(config: dict[str, Any], folder: Path | None) -> dict[str, Any]:
    """Make the paths in a kubeconfig absolute; they are relative to the folder of the kubeconfig."""
    if folder is None:
        return config
    for section, entry_key in (("clusters", "cluster"), ("users", "user")):
        for entry in config.get(section) or []:
            for key in ("certificate-authority", "client-certificate", "client-key", "tokenFile"):
                value = (entry.get(entry_key) or {}).get(key)
                if value and not Path(value).is_absolute():
                    entry[entry_key][key] = str((folder / value).resolve())
    return config


def _flag(variables: Mapping[str, str], name: str) -> bool:
    variable, default = _FLAGS[name]
    if _PREFIX + name in variables:
        return variables[_PREFIX + name] == "true"
    return os.environ.get(variable, str(default).lower()) == "true"


def resolve(variables: Mapping[str, str]) -> Settings:
    """Convert the engine's configuration variables to settings.

    Raises:
        ConfigurationError: a setting is malformed or not supported.
    """
    for name, reason in _UNSUPPORTED.items():
        if variables.get(_PREFIX + name) not in (None, "", "false"):
            raise ConfigurationError(f"{name}: {reason}; install the vendor's plugin for it")
    if not _flag(variables, "enableServerSideApply"):
        raise ConfigurationError(
            "enableServerSideApply: the stand-in applies on the server only; install the vendor's plugin to turn it off"
        )
    given = variables.get(_PREFIX + "kubeconfig")
    config = parse_kubeconfig(given) if given else None
    context, cluster = variables.get(_PREFIX + "context") or None, variables.get(_PREFIX + "cluster") or None
    if config is not None and cluster:
        config = with_cluster(config, context, cluster)
    return Settings(
        kubeconfig=config,
        context=context,
        namespace=variables.get(_PREFIX + "namespace") or _namespace(config, context),
        delete_unreachable=_flag(variables, "deleteUnreachable"),
        patch_force=_flag(variables, "enablePatchForce"),
        upsert=_flag(variables, "upsertExistingObjects"),
        config_map_mutable=_flag(variables, "enableConfigMapMutable"),
        secret_mutable=_flag(variables, "enableSecretMutable"),
        helm=json.loads(variables.get(_PREFIX + "helmReleaseSettings") or "{}"),
    )


def with_cluster(config: dict[str, Any], context: str | None, cluster: str) -> dict[str, Any]:
    """Return a kubeconfig whose selected context uses another cluster."""
    chosen = context or config.get("current-context")
    return {
        **config,
        "contexts": [
            {**entry, "context": {**entry.get("context", {}), "cluster": cluster}} if entry["name"] == chosen else entry
            for entry in config.get("contexts") or []
        ],
    }


def _context(config: Mapping[str, Any], context: str | None) -> Mapping[str, Any]:
    chosen = context or config.get("current-context")
    for entry in config.get("contexts") or []:
        if entry.get("name") == chosen:
            return entry.get("context") or {}
    return {}


def _namespace(config: Mapping[str, Any] | None, context: str | None) -> str:
    if config is None:
        path = (os.environ.get("KUBECONFIG") or "~/.kube/config").split(os.pathsep)[0]
        if not Path(path).expanduser().exists():
            return "default"
        config = parse_kubeconfig(path)
    return _context(config, context).get("namespace") or "default"


def active_cluster(properties: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the cluster entry selected by the provider's inputs, or None if they select none."""
    given = properties.get("kubeconfig")
    if not isinstance(given, str) or not given:
        return None
    try:
        config = parse_kubeconfig(given)
    except ConfigurationError:
        return None
    context = properties.get("context")
    name = properties.get("cluster") or _context(config, context if isinstance(context, str) else None).get("cluster")
    for entry in config.get("clusters") or []:
        if entry.get("name") == name:
            return entry.get("cluster") or {}
    return None
