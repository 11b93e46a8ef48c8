"""Licences: known, allowed, and the page current."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from inferstack.supply import licences
from inferstack.supply.modules import Module
from tests.unit.docs.scripts import load

EXPAT = "Permission is hereby granted, free of charge, to any person obtaining a copy"


@pytest.fixture(scope="module")
def page() -> ModuleType:
    return load("licence_page")


def test_page_is_current_and_nothing_on_it_is_refused(page: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert page.main(["--check"]) == 0, capsys.readouterr().err


def test_unrecognised_licence_is_recorded_per_version(page: ModuleType) -> None:
    text = f"x {page.BEGIN}\n| a | 1 | MIT |\n{page.END} y"
    kept = page.read_page(text)
    assert kept == {("a", "1"): "MIT"}
    fresh = page.filled(text, {("a", "1"): "MIT", ("a", "2"): licences.UNKNOWN}, {})
    assert "| a | 2 | unknown |" in fresh
    assert "2, the licence of 1 is known." in fresh
    assert fresh.startswith("x ")
    assert fresh.endswith(" y")
    with pytest.raises(ValueError, match="licence_page"):
        page.filled("no marks", {}, {})


@pytest.mark.parametrize(
    ("licence", "is_refused"),
    [
        ("MIT", False),
        ("GPL-3.0-or-later", True),
        ("AGPL-3.0", True),
        ("LGPL-3.0", False),
        ("MIT OR GPL-2.0-only", False),
        ("MIT AND GPL-2.0-only", True),
        ("(GPL-2.0-only OR GPL-3.0-only)", True),
        ("BUSL-1.1", True),
        ("MPL-2.0", False),
    ],
)
def test_forbidden_licences_are_refused(licence: str, is_refused: bool) -> None:
    assert licences.refused(licence) is is_refused


def test_exceptions_have_reasons_and_serve_something() -> None:
    held = {"a": "GPL-3.0", "b": "MIT", "c": licences.UNKNOWN}
    assert licences.problems(held, {"a": "why"}, ["a", "b"]) == []
    assert licences.problems(held, {}, []) == ["a has a denied licence: GPL-3.0"]
    assert licences.problems(held, {"a": "why", "b": "why"}, []) == ["the exception for b serves nothing"]
    assert licences.problems(held, {"a": "why", "z": "why"}, []) == ["the exception for z serves nothing"]
    assert licences.problems(held, {"a": "why"}, ["c"]) == ["the licence of c is not known"]
    assert all(len(reason) > 20 for reason in licences.rules()["exceptions"].values())


@pytest.mark.parametrize(
    ("text", "licence"),
    [
        (f"MIT License\n\n{EXPAT}", "MIT"),
        ("Apache License\n                 Version 2.0, January 2004", "Apache-2.0"),
        ("GNU GENERAL PUBLIC LICENSE Version 3", "GPL-3.0"),
        ("GNU AFFERO GENERAL PUBLIC LICENSE", "AGPL-3.0"),
        ("Redistribution and use in source and binary forms ...", "BSD-2-Clause"),
        ("Redistribution and use in source and binary forms\n... Neither the name of X", "BSD-3-Clause"),
        ("All rights reserved", licences.UNKNOWN),
    ],
)
def test_licence_is_detected_from_text(text: str, licence: str) -> None:
    assert licences.of_text(text) == licence


def test_module_is_found_in_gos_cache(tmp_path: Path) -> None:
    folder = tmp_path / "github.com" / "!burnt!sushi" / "toml@v1.2.3"
    folder.mkdir(parents=True)
    (folder / "COPYING").write_text(EXPAT)
    (folder / "main.go").write_text("GNU GENERAL PUBLIC LICENSE")
    assert licences.of_module(Module("github.com/BurntSushi/toml", "v1.2.3", ""), tmp_path) == "MIT"
    (folder / "LICENSE.apache").write_text("Apache License Version 2.0")
    assert licences.of_module(Module("github.com/BurntSushi/toml", "v1.2.3", ""), tmp_path) == "Apache-2.0 AND MIT"
    assert licences.of_module(Module("github.com/BurntSushi/toml", "v2.0.0", ""), tmp_path) == licences.UNKNOWN


def test_package_metadata_names_its_licence() -> None:
    assert licences.of_package("rich") == "MIT"
    assert licences.of_package("ansible") == "GPL-3.0-or-later"
    assert licences.of_package("no-such-package-at-all") == licences.UNKNOWN
