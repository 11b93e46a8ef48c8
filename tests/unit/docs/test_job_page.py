"""The page of the InferenceJob says what the models and the operator say."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from inferstack.api import ConditionType, InferenceJob, constants, crds
from inferstack.controllers.jobs.reasons import Reason
from tests.unit.docs.scripts import ROOT, load

PAGE = ROOT / "docs" / "inferencejob.md"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    return load("job_page")


def table(heading: str) -> list[list[str]]:
    """Return the rows of the first table below a heading of the page."""
    below = PAGE.read_text().partition(heading)[2]
    rows = [line for line in below.partition("\n#")[0].splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]


def test_the_tables_are_current(tool: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert tool.main(["--check"]) == 0, capsys.readouterr().err


def test_every_field_is_there_once() -> None:
    def paths(schema: dict[str, Any], path: str) -> list[str]:
        inner = schema.get("items", schema)
        at = path + "[]" if "items" in schema else path
        return [
            field
            for name, child in inner.get("properties", {}).items()
            for field in (f"{at}.{name}", *paths(child, f"{at}.{name}"))
        ]

    schema = crds()[0]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    for part in ("spec", "status"):
        rows = table(f"### {part}\n")[1:]
        assert [row[0].strip("`") for row in rows] == paths(schema[part], part)
        assert all(len(row) == 4 for row in rows)
        assert all(row[3] for row in rows)


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "integer", "minimum": 1, "maximum": 5}, "integer, 1 to 5"),
        ({"type": "integer", "minimum": 0}, "integer, 0 or more"),
        ({"type": "string", "maxLength": 3, "pattern": "^a$"}, "string, at most 3 characters, `^a$`"),
        ({"type": "string", "pattern": constants.PERCENT_PATTERN}, "string, `1%` to `100%`"),
        ({"type": "string", "format": "date-time"}, "string, date-time"),
        ({"type": "string", "enum": ["a", "b"]}, "`a` or `b`"),
        ({"type": "array", "maxItems": 2, "items": {"type": "string"}}, "list of at most 2 strings"),
        (
            {
                "type": "array",
                "minItems": 1,
                "maxItems": 2,
                "items": {"type": "object", "properties": {}},
                "x-kubernetes-list-map-keys": ["name"],
            },
            "list of 1 to 2 objects, unique by name",
        ),
        (
            {"x-kubernetes-int-or-string": True, "minimum": 1, "maximum": 2, "maxLength": 4},
            "integer, 1 to 2; or string, at most 4 characters",
        ),
        (
            {"type": "object", "maxProperties": 8, "additionalProperties": {"type": "integer"}},
            "mapping of at most 8 names to: integer",
        ),
    ],
)
def test_types_in_words(tool: ModuleType, schema: dict[str, Any], words: str) -> None:
    assert tool.describe(schema) == words


def test_the_example_is_a_good_job() -> None:
    example = re.search(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert example is not None
    InferenceJob.model_validate(yaml.safe_load(example[1]))


def test_every_condition_and_every_reason_is_explained() -> None:
    names = [row[0].strip("`") for row in table("## Conditions and reasons\n")]
    conditions, reasons = names[1 : names.index("reason")], names[names.index("reason") + 1 :]
    assert set(conditions) == {kind.value for kind in ConditionType}
    assert len(reasons) == len(set(reasons))
    assert set(reasons) == set(Reason)


def test_a_page_that_is_not_current_is_mended(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tool, "project_root", lambda: tmp_path)
    copy = tmp_path / "docs" / PAGE.name
    copy.parent.mkdir()
    shutil.copy(PAGE, copy)
    copy.write_text(PAGE.read_text().replace("`spec.replicas`", "`spec.copies`"))
    assert tool.main(["--check"]) == 1
    assert capsys.readouterr().err == (
        "docs/inferencejob.md: the tables are not current; run `python tools/job_page.py`\n"
    )
    assert tool.main([]) == 0
    assert copy.read_text() == PAGE.read_text()
    copy.write_text("# InferenceJob\n")
    assert tool.main([]) == 1
    assert "are missing" in capsys.readouterr().err
    assert copy.read_text() == "# InferenceJob\n"
