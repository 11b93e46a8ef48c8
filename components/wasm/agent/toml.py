"""containerd's configuration with one runtime more or less, as text: whatever else is in the file stays as it is.

A block between two markers at the end of the file, and not a file of its own in a folder of imports: EKS' configuration
imports none, and containerd before 2.0 replaces a plugin's whole section by that of an import.
"""

from __future__ import annotations

import re
import tomllib

BEGIN, END = "# >>> inferstack wasm, do not edit", "# <<< inferstack wasm"
_BLOCK = re.compile(rf"\n{re.escape(BEGIN)}\n.*?{re.escape(END)}\n", re.DOTALL)
_PLUGINS = {2: "io.containerd.grpc.v1.cri", 3: "io.containerd.cri.v1.runtime"}
"""Plugin that holds the runtimes, by version of the configuration (containerd: docs/cri/config.md)."""


class TomlError(Exception):
    """A configuration that this program does not dare to change."""


def without(text: str) -> str:
    """Return the configuration without our block; other text is the same, byte for byte."""
    return _BLOCK.sub("", text)


def added(text: str, runtime: str, shim: str) -> str:
    """Return the configuration with our runtime.

    Args:
        text: of the file.
        runtime: its name in containerd, which the RuntimeClass has as its handler.
        shim: the binary's absolute path.

    Raises:
        TomlError: it is no configuration of a version that is known, or has another runtime of that name.
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
