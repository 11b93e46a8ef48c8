"""A packed chart: its name and version, default values and the CRDs that helm would install and never remove."""

from __future__ import annotations

import functools
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inferstack.errors import UserError
from inferstack.toolchain.documents import crds_in, parse_all

Object = dict[str, Any]
_MAX_FILE = 16 * 2**20
"""Bytes; the largest CRD file in use has under 1 MiB."""


class Archive:
    """A chart in a ``.tgz`` file, read once.

    Args:
        path: of the file.

    Raises:
        UserError: the file is no packed chart.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._files = _read(path)
        meta = self._yaml("Chart.yaml") or {}
        if not isinstance(meta, dict) or not {"name", "version"} <= meta.keys():
            raise UserError(f"{path} is no packed Helm chart: it has no Chart.yaml with a name and a version.")
        self.name = str(meta["name"])
        self.version = str(meta["version"])
        self.app_version = str(meta.get("appVersion", ""))
        self._dependencies: list[Mapping[str, Any]] = meta.get("dependencies") or []

    @functools.cached_property
    def values(self) -> Object:
        """The chart's default values, those of its sub-charts below their names."""
        return self._values("")

    @functools.cached_property
    def crds(self) -> list[Object]:
        """CRDs in ``crds/`` folders, also of sub-charts. Those among the templates are not here: helm removes them."""
        found: dict[str, Object] = {}
        for name in sorted(self._files):
            parts = name.split("/")
            inside = parts[:-1]
            # <chart>/crds/... with any number of charts/<sub-chart> before it
            while inside[:1] == ["charts"]:
                inside = inside[2:]
            if inside[:1] != ["crds"] or not name.endswith((".yaml", ".yml")):
                continue
            for crd in crds_in(self._files[name]):
                found.setdefault(crd["metadata"]["name"], crd)
        return list(found.values())

    def crds_of(self, name: str) -> list[Object]:
        """Return the CRDs of one file whose name tells of them.

        Args:
            name: path below the chart's folder.

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
    """Return the files of the chart that are looked at, by their path below the chart's own folder."""
    files: dict[str, bytes] = {}
    try:
        with tarfile.open(path, "r:gz") as packed:
            for member in packed:
                _, _, name = member.name.partition("/")
                wanted = name.endswith(("Chart.yaml", "values.yaml")) or "crd" in name
                if not member.isfile() or not wanted or member.size > _MAX_FILE:
                    continue
                content = packed.extractfile(member)
                assert content is not None  # noqa: S101  # it is a file
                files[name] = content.read()
    except FileNotFoundError:
        raise UserError(f"There is no chart {path}.") from None
    except (OSError, tarfile.TarError) as error:
        raise UserError(f"{path} is no packed Helm chart: {error}.") from None
    return files


def _over(base: Object, over: Mapping[str, Any]) -> Object:
    """Overlay mappings key by key, as helm does with a chart's values for its sub-charts."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = _over(below, value) if isinstance(value, Mapping) and isinstance(below, dict) else value
    return merged
