"""Edits of containerd's configuration: adds and removes one runtime and leaves the other text unchanged.

The runtime is a block between two markers at the end of the file, not a drop-in file: the configuration of EKS has no
imports, and containerd before 2.0 lets an import replace the whole section of a plugin.
"""

from __future__ import annotations

import re
import tomllib

BEGIN, END = "# >>> inferstack wasm, do not edit", "# <<< inferstack wasm"
_BLOCK = re.compile(rf"\n{re.escape(BEGIN)}\n.*?{re.escape(END)}\n", re.DOTALL)
_PLUGINS = {2: "io.containerd.grpc.v1.cri", 3: "io.containerd.cri.v1.runtime"}
"""Plugin that configures runtimes, by version of the configuration (containerd: docs/cri/config.md)."""


class TomlError(Exception):
    """The configuration cannot be edited safely."""


def without(text: str) -> str:
    """Return the configuration without the block; all other text is unchanged."""
    return _BLOCK.sub("", text)


def added(text: str, runtime: str, shim: str) -> str:
    """Return the configuration with the runtime.

    Args:
        text: content of the file.
        runtime: name of the runtime, the handler of the RuntimeClass.
        shim: absolute path of the binary.

    Raises:
        TomlError: the configuration is invalid or of an unknown version, or has another runtime of that name.
    """
    plain = without(text)
    plugin = _plugin(plain)
    if runtime in _runtimes(plain, plugin):
        raise TomlError(f"it has a runtime {runtime} of somebody else's")
    block = f'[plugins."{plugin}".containerd.runtimes."{runtime}"]\n  runtime_type = "{shim}"\n'
    extended = f"{plain}\n{BEGIN}\n{block}{END}\n"
    if _runtimes(extended, plugin).get(runtime) != {"runtime_type": shim}:
        raise TomlError("the runtime cannot be added at the end of it")
    return extended


def _plugin(text: str) -> str:
    version = _parsed(text).get("version", 1)
    if version not in _PLUGINS:
        raise TomlError(f"it is of version {version}; known are {', '.join(map(str, _PLUGINS))}")
    return _PLUGINS[version]


def _runtimes(text: str, plugin: str) -> dict[str, object]:
    at: object = _parsed(text)
    for key in ("plugins", plugin, "containerd", "runtimes"):
        at = at.get(key, {}) if isinstance(at, dict) else {}
    return at if isinstance(at, dict) else {}


def _parsed(text: str) -> dict[str, object]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise TomlError(f"it is no TOML: {error}") from None
