"""A packed chart: name, version, default values, and the CRDs that helm installs and never removes."""

from __future__ import annotations

import functools
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inferstack.apimachinery.objects import Object
from inferstack.errors import UserError
from inferstack.toolchain.documents import crds_in, parse_all

_MAX_FILE = 16 * 2**20
"""Bytes. The largest CRD file in use has less than 1 MiB."""


class Archive:
    """A chart in a ``.tgz`` file, read once.

    Args:
        path: path of the file.

    Raises:
        UserError: the file is not a packed chart.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._files = _read(path)
        meta = self._yaml("Chart.yaml") or {}
        if not isinstance(meta, dict) or not {"name", "version"} <= meta.keys():
            raise UserError(f"{path} is not a packed Helm chart: it has no Chart.yaml with a name and a version.")
        self.name = str(meta["name"])
        self.version = str(meta["version"])
        self.app_version = str(meta.get("appVersion", ""))
        self._dependencies: list[Mapping[str, Any]] = meta.get("dependencies") or []

    @functools.cached_property
    def values(self) -> Object:
        """The chart's default values, with those of subcharts under their names."""
        return self._values("")

    @functools.cached_property
    def crds(self) -> list[Object]:
        """CRDs in ``crds/`` folders, subcharts included. CRDs among the templates are excluded: helm removes them."""
        crds: dict[str, Object] = {}
        for name in sorted(self._files):
            parts = name.split("/")
            inside = parts[:-1]
            # <chart>/crds/... after any number of charts/<subchart>
            while inside[:1] == ["charts"]:
                inside = inside[2:]
            if inside[:1] != ["crds"] or not name.endswith((".yaml", ".yml")):
                continue
            for crd in crds_in(self._files[name]):
                crds.setdefault(crd["metadata"]["name"], crd)
        return list(crds.values())

    def crds_of(self, name: str) -> list[Object]:
        """Return the CRDs of one file with ``crd`` in its path.

        Args:
            name: path in the chart.

        Raises:
            UserError: the chart has no such file.
        """
        if name not in self._files:
            raise UserError(f"{self.path} has no {name}: is it the chart that versions.yaml names?")
        return list(crds_in(self._files[name]))

    def _values(self, folder: str) -> Object:
        values = self._yaml(f"{folder}values.yaml") or {}
        meta = self._yaml(f"{folder}Chart.yaml") or {}
        for dependency in meta.get("dependencies") or []:
            below = f"{folder}charts/{dependency['name']}/"
            if f"{below}Chart.yaml" not in self._files:
                continue
            key = dependency.get("alias") or dependency["name"]
            values[key] = _over(self._values(below), values.get(key) or {})
        if "global" not in values:
            values["global"] = {}
        return values

    def _yaml(self, name: str) -> Any:
        content = self._files.get(name)
        return None if content is None else next(parse_all(content), None)


def _read(path: Path) -> dict[str, bytes]:
    """Return the Chart.yaml, values.yaml and CRD files of the chart, by path in the chart."""
    files: dict[str, bytes] = {}
    try:
        with tarfile.open(path, "r:gz") as packed:
            for member in packed:
                _, _, name = member.name.partition("/")
                relevant = name.endswith(("Chart.yaml", "values.yaml")) or "crd" in name
                if not member.isfile() or not relevant or member.size > _MAX_FILE:
                    continue
                content = packed.extractfile(member)
                assert content is not None  # noqa: S101  # it is a file
                files[name] = content.read()
    except FileNotFoundError:
        raise UserError(f"{path}: no such chart.") from None
    except (OSError, tarfile.TarError) as error:
        raise UserError(f"{path} is not a packed Helm chart: {error}.") from None
    return files


def _over(base: Object, over: Mapping[str, Any]) -> Object:
    """Merge mappings key by key, as helm merges a chart's values into those of its subcharts."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = _over(below, value) if isinstance(value, Mapping) and isinstance(below, dict) else value
    return merged
