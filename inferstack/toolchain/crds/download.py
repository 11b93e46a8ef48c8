"""Have Go download a pinned module."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

from inferstack.errors import UserError
from inferstack.toolchain.binaries import build
from inferstack.toolchain.crds.catalogue import Source

_TIMEOUT_S = 300
"""Ten times what 5 MB, the largest of these modules, take at 1.5 Mbit/s."""


def download(source: Source, folder: Path) -> Path:
    """Return the zip file of a module in Go's own module cache, where Go puts it if it is not there yet.

    Go itself checks the pinned hash before it takes the file: it stands in the ``go.sum`` of a module made for this
    call. So the checksum database is not asked, and a proxy that does not serve it is enough.

    Args:
        source: the module.
        folder: an empty one for Go to work in.

    Raises:
        UserError: Go is missing, or the module cannot be had or is not the pinned one.
    """
    go = shutil.which("go")
    if go is None:
        raise UserError(
            f"Go is missing, and the CRDs of {source.addon} come from the Go module {source.module}: install Go "
            "(https://go.dev/dl) and put it on PATH."
        )
    # An old `go` line, so that any Go takes it: nothing is compiled.
    (folder / "go.mod").write_text("module crds\n\ngo 1.16\n")
    (folder / "go.sum").write_text(f"{source.module} {source.version} {source.sum}\n")
    try:
        done = subprocess.run(
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
            f"The Go module {source.module}@{source.version} has not come within {_TIMEOUT_S} s: check the network, or "
            "set GOPROXY to a proxy that can be reached."
        ) from error
    answer = json.loads(done.stdout) if done.stdout.strip().startswith("{") else {}
    # A Go that is too old to compile the module says so as an error, and has downloaded and checked it nevertheless.
    if answer.get("Zip"):
        # Once more, for GOFLAGS that lead Go to another go.sum.
        if answer["Sum"] == source.sum:
            return Path(answer["Zip"])
        raise UserError(explain(source, f"checksum mismatch: {answer['Sum']} came, {source.sum} is pinned"))
    raise UserError(explain(source, answer.get("Error") or done.stderr or done.stdout))


def explain(source: Source, output: str) -> str:
    """Return a sentence for what Go said about a module that it did not bring."""
    name, said = f"{source.module}@{source.version}", output.strip()
    if "SECURITY ERROR" in said or "checksum mismatch" in said:
        return (
            f"The Go module {name} is not the pinned one (versions.yaml, crds.{source.addon}.sum): find out who serves "
            f"it (go env GOPROXY).\n{said}"
        )
    if build.is_network_trouble(said):
        return (
            f"The Go module {name} cannot be fetched: check the network, or set GOPROXY to a proxy that can be "
            f"reached.\n{said}"
        )
    return f"Go did not bring the module {name}, which has the CRDs of {source.addon}:\n{said}"
