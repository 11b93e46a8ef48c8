"""Where an effective setting comes from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from components import provenance
from components.provenance import Setting, place_of, settings_of
from components.settings import merge

DEFAULTS = """\
# One.
mode: auto
nested:
  # Two.
  deep: {}
  # Three.
  list: [a]
empty: {}
"""


@pytest.fixture
def role(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A role `thing` with the defaults above; returns the folder."""
    defaults = tmp_path / "defaults.yaml"
    defaults.write_text(DEFAULTS)
    monkeypatch.setattr(provenance, "defaults_file", lambda _role: defaults)
    monkeypatch.setattr(provenance, "project_root", lambda: tmp_path)
    return tmp_path


def stack(folder: Path, text: str) -> Path:
    """Write a stack's file whose object for the role begins on line 3."""
    path = folder / "Pulumi.x.yaml"
    path.write_text(f"config:\n  inferstack:thing:\n{text}  inferstack:place: local\n")
    return path


def test_defaults_and_what_the_stack_puts_over_them(role: Path) -> None:
    file = stack(role, "    nested: {list: [b, c], deep: {x: 1}}\n    more: {a.b: true}\n")
    assert settings_of("thing", file) == [
        Setting("inferstack:thing.mode", "auto", "defaults.yaml:2"),
        Setting("inferstack:thing.nested.list", ["b", "c"], "Pulumi.x.yaml:3"),
        Setting("inferstack:thing.empty", {}, "defaults.yaml:8"),
        Setting("inferstack:thing.nested.deep.x", 1, "Pulumi.x.yaml:3"),
        Setting('inferstack:thing.more["a.b"]', True, "Pulumi.x.yaml:4"),
    ]


def test_what_was_given_on_the_command_line(role: Path) -> None:
    file = stack(role, "    mode: chart\n")
    leaves = settings_of("thing", file, {"mode": "present", "nested": {"list": ["a"]}})
    assert leaves[0] == Setting("inferstack:thing.mode", "present", "--config")
    assert [setting.source for setting in leaves[1:]] == ["defaults.yaml:5", "defaults.yaml:7", "defaults.yaml:8"]


def test_an_encrypted_value_is_not_shown(role: Path) -> None:
    file = stack(role, "    mode: {secure: v1:abc}\n")
    assert settings_of("thing", file)[0] == Setting("inferstack:thing.mode", "[secret]", "Pulumi.x.yaml:3")


def test_a_value_in_place_of_a_mapping(role: Path) -> None:
    file = stack(role, "    nested: null\n")
    assert [setting.key for setting in settings_of("thing", file)] == [
        "inferstack:thing.mode",
        "inferstack:thing.empty",
        "inferstack:thing.nested",
    ]


def test_the_place(role: Path) -> None:
    assert place_of(stack(role, "    {}\n")) == Setting("inferstack:place", "local", "Pulumi.x.yaml:4")


_TREES = st.recursive(
    st.one_of(st.booleans(), st.integers(), st.lists(st.integers(), max_size=2)),
    lambda below: st.dictionaries(st.sampled_from("abc"), below, max_size=3),
    max_leaves=8,
)
_MAPPINGS = st.dictionaries(st.sampled_from("abc"), _TREES, max_size=3)


@given(defaults=_MAPPINGS, over=_MAPPINGS)
def test_the_leaves_are_those_of_the_merged_settings(
    defaults: dict[str, Any], over: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("role")
    (folder / "defaults.yaml").write_text(yaml.safe_dump(defaults))
    (folder / "stack.yaml").write_text(yaml.safe_dump({"config": {"inferstack:thing": over}}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(provenance, "defaults_file", lambda _role: folder / "defaults.yaml")
        leaves = {setting.key: setting.value for setting in settings_of("thing", folder / "stack.yaml")}
    assert leaves == dict(_flat(merge(defaults, over), "inferstack:thing"))


def _flat(value: Any, key: str) -> list[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        return [leaf for name, below in value.items() for leaf in _flat(below, f"{key}.{name}")]
    return [(key, value)] if key != "inferstack:thing" else []
