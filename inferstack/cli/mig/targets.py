"""Which nodes are to have which layouts: as a user types it, and out of the files of `inferstack mig plan`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from inferstack.errors import UserError
from inferstack.mig.gpu_operator import MIG_CONFIG

_FORMS = (
    "a mapping from node to layout, a list of {node, layout}, a plan.yaml or a labels.yaml of `inferstack mig plan`"
)


def read_wanted(given: Sequence[str]) -> dict[str, str]:
    """Return the layout of each node, in the order in which they are to be dealt with.

    Args:
        given: each ``NODE=LAYOUT``, a file, or a folder with a ``labels.yaml``.

    Raises:
        UserError: one is none of these, or a node is there twice with two layouts.
    """
    wanted: dict[str, str] = {}
    for one in given:
        node, equals, layout = one.partition("=")
        path = Path(one)
        if equals and not path.exists():
            found = {node: layout}
            if not node or not layout:
                raise UserError(f"{one!r} is not NODE=LAYOUT.")
        else:
            found = _read(path)
        for name, asked in found.items():
            if wanted.setdefault(name, asked) != asked:
                raise UserError(f"{one}: node {name} is asked for {asked} here and for {wanted[name]} before.")
    return wanted


def _read(path: Path) -> dict[str, str]:
    file = path / "labels.yaml" if path.is_dir() else path
    try:
        documents = [one for one in yaml.safe_load_all(file.read_text()) if one is not None]
    except OSError as error:
        raise UserError(f"{file}: {error.strerror}; give NODE=LAYOUT, or {_FORMS}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: no YAML: {' '.join(str(error).split())}.") from error
    return parse_wanted(documents, str(file))


def parse_wanted(documents: Sequence[Any], where: str) -> dict[str, str]:
    """Return the layout of each node that the documents of a YAML file name.

    Args:
        documents: as loaded.
        where: the file, for errors.

    Raises:
        UserError: they are of no known form; the message names the entry at fault.
    """
    if any(isinstance(one, dict) and one.get("kind") == "Node" for one in documents):
        rows = [_from_object(one, f"{where}: document {number}") for number, one in enumerate(documents, 1)]
    elif len(documents) != 1:
        raise UserError(f"{where}: has {len(documents)} documents and no Nodes; it must be {_FORMS}.")
    else:
        rows = _from_document(documents[0], where)
    wanted: dict[str, str] = {}
    for node, layout, place in rows:
        if not (isinstance(node, str) and node and isinstance(layout, str) and layout):
            raise UserError(f"{place}: node {node!r} and layout {layout!r} must be words.")
        if wanted.setdefault(node, layout) != layout:
            raise UserError(f"{place}: node {node} is there twice, with {wanted[node]} and {layout}.")
    return wanted


def _from_document(content: Any, where: str) -> list[tuple[Any, Any, str]]:
    if isinstance(content, dict) and isinstance(content.get("nodes"), list):
        content, where = content["nodes"], f"{where}: nodes"
    if isinstance(content, list):
        return [_from_entry(entry, f"{where}[{index}]") for index, entry in enumerate(content)]
    if isinstance(content, dict):
        return [(node, layout, f"{where}: {node}") for node, layout in content.items()]
    raise UserError(f"{where}: must be {_FORMS}.")


def _from_entry(entry: Any, place: str) -> tuple[Any, Any, str]:
    if not isinstance(entry, dict) or entry.keys() != {"node", "layout"}:
        raise UserError(f"{place}: not of the form {{node: ..., layout: ...}}.")
    return entry["node"], entry["layout"], place


def _from_object(obj: Any, place: str) -> tuple[Any, Any, str]:
    meta: Any = obj.get("metadata") if isinstance(obj, dict) and obj.get("kind") == "Node" else None
    labels: Any = meta.get("labels") if isinstance(meta, Mapping) else None
    if not isinstance(labels, Mapping):
        raise UserError(f"{place}: not a Node with a label {MIG_CONFIG}.")
    return meta.get("name"), labels.get(MIG_CONFIG), place
