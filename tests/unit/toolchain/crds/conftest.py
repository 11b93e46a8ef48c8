"""A Go module with two CRDs, served from a folder: the real ``go`` downloads it and no network is needed."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from inferstack.toolchain.crds import Source

MODULE, VERSION = "example.test/shapes", "v1.2.3"

CIRCLES = """\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: circles.example.test
  creationTimestamp: null
  annotations: {controller-gen.kubebuilder.io/version: v0.21.0}
spec:
  group: example.test
  names: {kind: Circle, plural: circles}
  scope: Namespaced
  versions:
    - name: v1
      served: true
      storage: true
      schema:
        openAPIV3Schema:
          description: A circle.
          type: object
          properties:
            radius: {type: integer, description: In metres.}
status: {conditions: [], storedVersions: []}
"""
SQUARES = CIRCLES.replace("circles", "squares").replace("Circle", "Square")
FILES = {
    "go.mod": f"module {MODULE}\n",
    "crds/circles.yaml": CIRCLES,
    "crds/squares.yaml": f"---\n---\n{SQUARES}---\napiVersion: v1\nkind: Service\nmetadata: {{name: none}}\n",
    "other/crds/triangles.yaml": CIRCLES.replace("circles", "triangles"),
}

Serve = Callable[..., Source]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty cache folder."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("INFERSTACK_CACHE", str(folder))
    return folder


@pytest.fixture
def serve(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Serve:
    """Return a function that serves a module with some files and tells its source; the hash may be a wrong one."""
    if shutil.which("go") is None:
        pytest.skip("Go is not installed")
    proxy = tmp_path / "proxy"
    monkeypatch.setenv("GOPROXY", f"file://{proxy}")
    monkeypatch.setenv("GOMODCACHE", str(tmp_path / "modules"))
    monkeypatch.setenv("GOFLAGS", "-modcacherw")  # else pytest could not remove them

    def make(files: Mapping[str, str] = FILES, *, pin: str | None = None, paths: str = "crds/*.yaml") -> Source:
        folder = proxy / MODULE / "@v"
        folder.mkdir(parents=True)
        (folder / "list").write_text(f"{VERSION}\n")
        (folder / f"{VERSION}.info").write_text(json.dumps({"Version": VERSION}))
        (folder / f"{VERSION}.mod").write_text(files["go.mod"])
        members = {f"{MODULE}@{VERSION}/{name}": text for name, text in files.items()}
        with zipfile.ZipFile(folder / f"{VERSION}.zip", "w") as archive:
            for name, text in members.items():
                archive.writestr(name, text)
        return Source("shapes", MODULE, VERSION, pin or hash_of(members), (paths,))

    return make


def hash_of(members: Mapping[str, str]) -> str:
    """Return the hash that ``go.sum`` has of a zip file with some members."""
    lines = (f"{hashlib.sha256(text.encode()).hexdigest()}  {name}\n" for name, text in sorted(members.items()))
    return "h1:" + base64.b64encode(hashlib.sha256("".join(lines).encode()).digest()).decode()
