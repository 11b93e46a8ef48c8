"""The Go modules that contain CRDs: their pins in ``versions.yaml``, and their download by the ``go`` command."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inferstack.errors import UserError
from inferstack.toolchain.binaries import build
from inferstack.versions import load

_TIMEOUT_S = 300
"""Ten times the download of the largest of these modules, 5 MB, at 1.5 Mbit/s."""


@dataclass(frozen=True)
class Source:
    """The Go module that contains an add-on's CRDs."""

    addon: str
    module: str
    version: str
    sum: str
    """Hash of the module's content, as ``go.sum`` has it: ``h1:`` and base 64."""
    files: tuple[str, ...]
    """Path patterns in the module; ``*`` matches anything but a slash."""


def make_source(addon: str, entry: Mapping[str, Any]) -> Source:
    """Return one entry of ``crds``; see ``versions.yaml`` for the shape."""
    return Source(addon, entry["module"], entry["version"], entry["sum"], tuple(entry["files"]))


@functools.cache
def sources() -> Mapping[str, Source]:
    """Return the sources of ``versions.yaml`` by add-on."""
    return {addon: make_source(addon, entry) for addon, entry in load()["crds"].items()}


def source_of(addon: str, available: Mapping[str, Source]) -> Source:
    """Return the source of an add-on's CRDs.

    Raises:
        UserError: it has none.
    """
    if addon not in available:
        raise UserError(f'versions.yaml: crds has no entry "{addon}"; it has {", ".join(available)}.')
    return available[addon]


def download(source: Source, folder: Path) -> Path:
    """Download a module into Go's module cache if needed, and return its zip file there.

    Go verifies the pinned hash before it accepts the file, from the ``go.sum`` of a module created for this call. It
    does not need the checksum database, so a proxy that does not serve it suffices.

    Args:
        source: the module.
        folder: an empty work folder.

    Raises:
        UserError: Go is missing, or the module cannot be downloaded or does not match its pin.
    """
    go = shutil.which("go")
    if go is None:
        raise UserError(
            f"Go is missing, and the CRDs of {source.addon} come from the Go module {source.module}: install Go "
            "(https://go.dev/dl) and put it on PATH."
        )
    # An old `go` line, which every Go accepts: nothing is compiled.
    (folder / "go.mod").write_text("module crds\n\ngo 1.16\n")
    (folder / "go.sum").write_text(f"{source.module} {source.version} {source.sum}\n")
    try:
        completed = subprocess.run(
            [go, "mod", "download", "-json", f"{source.module}@{source.version}"],
            cwd=folder,
            env={**os.environ, "GOWORK": "off", "GO111MODULE": "on", "GONOSUMDB": source.module},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise UserError(
            f"The Go module {source.module}@{source.version} cannot be downloaded: timeout after {_TIMEOUT_S} s. Check "
            "the network, or set GOPROXY to a reachable proxy."
        ) from error
    answer = json.loads(completed.stdout) if completed.stdout.strip().startswith("{") else {}
    # A Go too old to compile the module reports an error although it has downloaded and verified the module.
    if answer.get("Zip"):
        # Verify again: GOFLAGS can point Go to another go.sum.
        if answer["Sum"] == source.sum:
            return Path(answer["Zip"])
        raise UserError(explain(source, f"checksum mismatch: got {answer['Sum']}, pinned is {source.sum}"))
    raise UserError(explain(source, answer.get("Error") or completed.stderr or completed.stdout))


def explain(source: Source, output: str) -> str:
    """Return an error message for Go's output about a failed download."""
    name, message = f"{source.module}@{source.version}", output.strip()
    if "SECURITY ERROR" in message or "checksum mismatch" in message:
        return (
            f"The Go module {name} does not match its pin (versions.yaml, crds.{source.addon}.sum): check the module "
            f"proxy (go env GOPROXY).\n{message}"
        )
    if build.is_network_trouble(message):
        return (
            f"The Go module {name} cannot be downloaded: check the network, or set GOPROXY to a reachable "
            f"proxy.\n{message}"
        )
    return f"The Go module {name} with the CRDs of {source.addon} cannot be downloaded:\n{message}"
