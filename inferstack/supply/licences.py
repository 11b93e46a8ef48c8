"""Licences of Python packages and Go modules, as far as they can be told without a network."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.resources
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from inferstack.supply.modules import Module

UNKNOWN = "unknown"
_SPDX = {
    "apache 2.0": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "apache-2.0": "Apache-2.0",
    "mit": "MIT",
    "mit license": "MIT",
    "bsd-3-clause": "BSD-3-Clause",
    "3-clause bsd license": "BSD-3-Clause",
    "bsd 2-clause license": "BSD-2-Clause",
    "mpl-2.0": "MPL-2.0",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "isc license (iscl)": "ISC",
    "python software foundation license": "PSF-2.0",
    "bsd license": "BSD (which of them is not told)",
}
"""Words of packages' metadata, in lower case -> SPDX identifier."""
_TEXTS = (
    (r"GNU AFFERO GENERAL PUBLIC LICENSE", "AGPL-3.0"),
    (r"GNU LESSER GENERAL PUBLIC LICENSE", "LGPL"),
    (r"GNU GENERAL PUBLIC LICENSE", "GPL-3.0"),
    (r"Business Source License", "BUSL-1.1"),
    (r"Apache License\s+Version 2\.0|apache\.org/licenses/LICENSE-2\.0", "Apache-2.0"),
    (r"Mozilla Public License,? (Version|version|v\.) ?2\.0", "MPL-2.0"),
    (r"Permission is hereby granted, free of charge", "MIT"),
    (r"Permission to use, copy, modify,? and(/or)? distribute this software", "ISC"),
    (r"Redistribution and use in source and binary forms(?s:.*)(Neither the name|names of its)", "BSD-3-Clause"),
    (r"Redistribution and use in source and binary forms", "BSD-2-Clause"),
    (r"This is free and unencumbered software", "Unlicense"),
)
"""What stands in a licence's text, the first that fits; several stand one behind another in some files."""
_FILE = re.compile(r"(LICEN[CS]E|COPYING)([.-].*)?", re.IGNORECASE)


@functools.cache
def rules() -> dict[str, Any]:
    """Return the content of ``licences.yaml``."""
    text = (importlib.resources.files("inferstack.supply") / "licences.yaml").read_text()
    content: dict[str, Any] = yaml.safe_load(text)
    return content


def of_package(name: str) -> str:
    """Return the licence of an installed Python package as its metadata tell it, else what `rules` know."""
    try:
        found = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return str(rules()["known"].get(name, UNKNOWN))
    told = found.metadata
    if expressions := told.get_all("License-Expression", []):
        return str(expressions[0])
    words = [str(value).strip().lower() for value in told.get_all("License", [])]
    if spdx := [_SPDX[word] for word in words if word in _SPDX]:
        return spdx[0]
    kinds = [value.rpartition("::")[2].strip().lower() for value in told.get_all("Classifier", [])]
    if named := sorted({_SPDX[kind] for kind in kinds if kind in _SPDX}):
        return " OR ".join(named)
    texts = [file.read_text() for file in found.files or () if _FILE.fullmatch(file.name)]
    return next((of_text(text) for text in texts), UNKNOWN)


def of_module(module: Module, cache: Path) -> str:
    """Return the licence of a Go module from its text in Go's module cache; unknown where it is not there."""
    # Go writes capitals as ! and the small letter, for file systems that do not tell them apart.
    escaped = re.sub(r"[A-Z]", lambda match: f"!{match[0].lower()}", f"{module.path}@{module.version}")
    folder = cache / escaped
    files = sorted(path for path in folder.iterdir() if _FILE.fullmatch(path.name)) if folder.is_dir() else []
    found = sorted({of_text(path.read_text(errors="replace")) for path in files if path.is_file()} - {UNKNOWN})
    # A main licence, with others for files that were taken over: the strictest reading is that all hold.
    return " AND ".join(found) or UNKNOWN


def of_text(text: str) -> str:
    """Return which licence a text is."""
    flat = " ".join(text.split())
    return next((name for pattern, name in _TEXTS if re.search(pattern, flat)), UNKNOWN)


def refused(licence: str) -> bool:
    """Tell whether a licence is denied; of alternatives one that is not is enough."""
    denied = tuple(rules()["denied"])
    return all(
        any(part.strip("() ").startswith(denied) for part in choice.split(" AND ")) for choice in licence.split(" OR ")
    )


def problems(licences: Mapping[str, str], exceptions: Mapping[str, str], required: Iterable[str]) -> list[str]:
    """Return what is wrong, a sentence each.

    Args:
        licences: by name of package or module.
        exceptions: name -> reason.
        required: names whose licence must be known.
    """
    found = [f"{name} has a denied licence: {held}" for name, held in licences.items() if refused(held)]
    wrong = [text for text in found if text.split(" ")[0] not in exceptions]
    wrong += [f"the licence of {name} is not known" for name in required if licences.get(name, UNKNOWN) == UNKNOWN]
    wrong += [
        f"the exception for {name} serves nothing"
        for name in exceptions
        if name not in licences or not refused(licences[name])
    ]
    return wrong
