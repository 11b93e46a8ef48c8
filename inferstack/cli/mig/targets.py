"""The desired MIG layouts of nodes, from arguments and from the files of `inferstack mig plan`."""

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


def read_targets(arguments: Sequence[str]) -> dict[str, str]:
    """Return the desired layout of each node, in the order of the rollout.

    Args:
        arguments: each ``NODE=LAYOUT``, a file, or a folder with a ``labels.yaml``.

    Raises:
        UserError: an argument has another form, or a node occurs with two layouts.
    """
    desired: dict[str, str] = {}
    for argument in arguments:
        node, equals, layout = argument.partition("=")
        path = Path(argument)
        if equals and not path.exists():
            layouts = {node: layout}
            if not node or not layout:
                raise UserError(f"{argument!r}: expected NODE=LAYOUT.")
        else:
            layouts = _read(path)
        for name, layout in layouts.items():
            if desired.setdefault(name, layout) != layout:
                raise UserError(f"{argument}: node {name} has the layout {layout} here and {desired[name]} before.")
    return desired


def _read(path: Path) -> dict[str, str]:
    file = path / "labels.yaml" if path.is_dir() else path
    try:
        documents = [document for document in yaml.safe_load_all(file.read_text()) if document is not None]
    except OSError as error:
        raise UserError(f"{file}: {error.strerror}; expected NODE=LAYOUT, or {_FORMS}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: not valid YAML: {' '.join(str(error).split())}.") from error
    return parse_targets(documents, str(file))


def parse_targets(documents: Sequence[Any], where: str) -> dict[str, str]:
    """Return the desired layout of each node in a YAML file.

    Args:
        documents: the parsed documents of the file.
        where: the file name, for errors.

    Raises:
        UserError: naming the invalid entry.
    """
    if any(isinstance(document, dict) and document.get("kind") == "Node" for document in documents):
        rows = [_from_object(obj, f"{where}: document {number}") for number, obj in enumerate(documents, 1)]
    elif len(documents) != 1:
        raise UserError(f"{where}: expected {_FORMS}, got {len(documents)} documents without Nodes.")
    else:
        rows = _from_document(documents[0], where)
    desired: dict[str, str] = {}
    for node, layout, place in rows:
        if not (isinstance(node, str) and node and isinstance(layout, str) and layout):
            raise UserError(f"{place}: node {node!r} and layout {layout!r} must be non-empty strings.")
        if desired.setdefault(node, layout) != layout:
            raise UserError(f"{place}: node {node} occurs twice, with {desired[node]} and {layout}.")
    return desired


def _from_document(content: Any, where: str) -> list[tuple[Any, Any, str]]:
    if isinstance(content, dict) and isinstance(content.get("nodes"), list):
        content, where = content["nodes"], f"{where}: nodes"
    if isinstance(content, list):
        return [_from_entry(entry, f"{where}[{index}]") for index, entry in enumerate(content)]
    if isinstance(content, dict):
        return [(node, layout, f"{where}: {node}") for node, layout in content.items()]
    raise UserError(f"{where}: expected {_FORMS}.")


def _from_entry(entry: Any, place: str) -> tuple[Any, Any, str]:
    if not isinstance(entry, dict) or entry.keys() != {"node", "layout"}:
        raise UserError(f"{place}: expected {{node: ..., layout: ...}}.")
    return entry["node"], entry["layout"], place


def _from_object(obj: Any, place: str) -> tuple[Any, Any, str]:
    meta: Any = obj.get("metadata") if isinstance(obj, dict) and obj.get("kind") == "Node" else None
    labels: Any = meta.get("labels") if isinstance(meta, Mapping) else None
    if not isinstance(labels, Mapping):
        raise UserError(f"{place}: expected a Node with the label {MIG_CONFIG}.")
    return meta.get("name"), labels.get(MIG_CONFIG), place
