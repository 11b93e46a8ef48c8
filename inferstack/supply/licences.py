"""Licences of Python packages and Go modules, determined without network access."""

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
"""Licence names in package metadata, in lower case, to SPDX identifiers."""
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
"""Patterns of licence texts. The first match wins; some files contain several licences."""
_FILE = re.compile(r"(LICEN[CS]E|COPYING)([.-].*)?", re.IGNORECASE)


@functools.cache
def rules() -> dict[str, Any]:
    """Return the content of ``licences.yaml``."""
    text = (importlib.resources.files("inferstack.supply") / "licences.yaml").read_text()
    content: dict[str, Any] = yaml.safe_load(text)
    return content


def of_package(name: str) -> str:
    """Return the licence of an installed Python package from its metadata or licence file, otherwise from `rules`."""
    try:
        distribution = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return str(rules()["known"].get(name, UNKNOWN))
    metadata = distribution.metadata
    if expressions := metadata.get_all("License-Expression", []):
        return str(expressions[0])
    words = [str(value).strip().lower() for value in metadata.get_all("License", [])]
    if spdx := [_SPDX[word] for word in words if word in _SPDX]:
        return spdx[0]
    kinds = [value.rpartition("::")[2].strip().lower() for value in metadata.get_all("Classifier", [])]
    if identifiers := sorted({_SPDX[kind] for kind in kinds if kind in _SPDX}):
        return " OR ".join(identifiers)
    texts = [file.read_text() for file in distribution.files or () if _FILE.fullmatch(file.name)]
    return next((of_text(text) for text in texts), UNKNOWN)


def of_module(module: Module, cache: Path) -> str:
    """Return the licence of a Go module from its licence files in Go's module cache, otherwise `UNKNOWN`."""
    # Go escapes a capital as ! and the lower-case letter, for case-insensitive file systems.
    escaped = re.sub(r"[A-Z]", lambda match: f"!{match[0].lower()}", f"{module.path}@{module.version}")
    folder = cache / escaped
    files = sorted(path for path in folder.iterdir() if _FILE.fullmatch(path.name)) if folder.is_dir() else []
    distribution = sorted({of_text(path.read_text(errors="replace")) for path in files if path.is_file()} - {UNKNOWN})
    # A module can contain files under other licences; the strictest reading is that all apply.
    return " AND ".join(distribution) or UNKNOWN


def of_text(text: str) -> str:
    """Return the SPDX identifier of a licence text, or `UNKNOWN`."""
    flat = " ".join(text.split())
    return next((name for pattern, name in _TEXTS if re.search(pattern, flat)), UNKNOWN)


def refused(licence: str) -> bool:
    """Return whether a licence is denied. Of alternatives (OR), one that is not denied suffices."""
    denied = tuple(rules()["denied"])
    return all(
        any(part.strip("() ").startswith(denied) for part in choice.split(" AND ")) for choice in licence.split(" OR ")
    )


def problems(licences: Mapping[str, str], exceptions: Mapping[str, str], required: Iterable[str]) -> list[str]:
    """Return the violations of the licence rules, one message each.

    Args:
        licences: licences by package or module.
        exceptions: reasons by package or module with an accepted licence.
        required: packages and modules whose licence must be known.
    """
    distribution = [f"{name} has a denied licence: {held}" for name, held in licences.items() if refused(held)]
    wrong = [text for text in distribution if text.split(" ")[0] not in exceptions]
    wrong += [f"the licence of {name} is not known" for name in required if licences.get(name, UNKNOWN) == UNKNOWN]
    wrong += [
        f"the exception for {name} serves nothing"
        for name in exceptions
        if name not in licences or not refused(licences[name])
    ]
    return wrong
