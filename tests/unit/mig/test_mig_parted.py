"""mig-parted's file: what is refused, what we emit."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from inferstack.mig import catalogue
from inferstack.mig.errors import ConfigError
from inferstack.mig.layout import apply_layout, mig_disabled
from inferstack.mig.mig_parted import Rule, dump_config, make_mig_parted_config, parse_config
from inferstack.mig.placement import find_placement
from tests import reference


def _entry(**fields: object) -> str:
    names = {key.replace("_", "-"): value for key, value in fields.items()}
    return yaml.safe_dump({"version": "v1", "mig-configs": {"x": [names]}})


def test_parses_every_form() -> None:
    text = _entry(device_filter="0x20B010DE", devices=[0, 3], mig_enabled=True, mig_devices={"1g.5gb": 7})
    assert parse_config(text) == {"x": (Rule(True, (0, 3), ("0x20B010DE",), {"1g.5gb": 7}),)}
    assert parse_config(_entry(devices="all", mig_enabled=False)) == {"x": (Rule(False),)}
    assert parse_config(_entry(devices="all", mig_enabled=True, mig_devices={})) == {"x": (Rule(True),)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", r"config.yaml: not YAML"),
        ("[]", r"config.yaml: not a mapping"),
        ("mig-configs: {}", r"version: None is not 'v1'"),
        ("version: v2", r"version: 'v2' is not 'v1'"),
        ("version: v1", r"mig-configs: needs at least one layout"),
        ("{version: v1, mig-config: {}}", r"mig-config: unknown field"),
        ("{version: v1, mig-configs: {x: []}}", r"mig-configs.x: needs a list of at least one entry"),
        ("{version: v1, mig-configs: {x: [1]}}", r"mig-configs.x\[0\]: not a mapping"),
        (_entry(devices="all"), r"mig-configs.x\[0\].mig-enabled: missing"),
        (_entry(mig_enabled=False), r"mig-configs.x\[0\].devices: missing"),
        (_entry(devices="some", mig_enabled=False), r"devices: 'some' is neither all nor a list of GPU indices"),
        (_entry(devices=[-1], mig_enabled=False), r"devices: \[-1\] is neither"),
        (_entry(devices=[True], mig_enabled=False), r"devices: \[True\] is neither"),
        (_entry(devices="all", mig_enabled="yes"), r"mig-enabled: 'yes' is not true or false"),
        (_entry(devices="all", mig_enabled=True), r"mig-devices: missing while mig-enabled is true"),
        (_entry(devices="all", mig_enabled=False, mig_devices={"1g.5gb": 1}), r"mig-devices: must be empty"),
        (_entry(devices="all", mig_enabled=True, mig_devices={"5gb": 1}), r"mig-devices: '5gb' is not a MIG profile"),
        (
            _entry(devices="all", mig_enabled=True, mig_devices={"1g.5gb": "7"}),
            r"mig-devices.1g.5gb: '7' is not a count",
        ),
        (_entry(devices="all", mig_enabled=True, mig_devices=["1g.5gb"]), r"mig-devices: not a mapping"),
        (
            _entry(devices="all", mig_enabled=False, device_filter="A100"),
            r"device-filter: 'A100' is not a PCI device id",
        ),
        (_entry(devices="all", mig_enabled=False, device_filter=[1]), r"device-filter: \[1\] is neither"),
        (_entry(devices="all", mig_enabled=False, color="red"), r"mig-configs.x\[0\].color: unknown field"),
    ],
)
def test_refuses(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_config(text)


@pytest.mark.reference
@pytest.mark.parametrize("name", ["config-default.yaml", "examples_config.yaml"])
def test_reads_nvidias_own_files(name: str) -> None:
    assert "all-balanced" in parse_config(reference.file("data", "mig-parted", name).read_text())


@pytest.mark.reference
def test_generated_layouts_match_nvidia_layouts() -> None:
    upstream = parse_config(reference.file("data", "mig-parted", "config-default.yaml").read_text())
    layouts = parse_config(dump_config(make_mig_parted_config()))
    compared = 0
    for name, layout in layouts.items():
        if name not in upstream:  # 1g.35gb.me and the like: the reference file lists not every +me
            continue
        for model in catalogue.load().gpus.values():
            if not any(profile in model.profiles for rule in layout for profile in rule.profiles):
                continue
            if not any(rule.matches(0, model.pci_device_ids) for rule in layout):
                continue
            assert apply_layout(layout, model, mig_disabled(8)) == apply_layout(upstream[name], model, mig_disabled(8))
            compared += 1
    assert compared >= 25


def test_names_of_the_default_layouts() -> None:
    assert list(make_mig_parted_config(["A100-SXM4-40GB"])["mig-configs"]) == [
        "all-disabled",
        "all-enabled",
        "all-1g.10gb",
        "all-1g.5gb",
        "all-1g.5gb.me",
        "all-2g.10gb",
        "all-3g.20gb",
        "all-4g.20gb",
        "all-7g.40gb",
        "all-balanced",
    ]


def test_equal_meaning_needs_no_filter_and_another_does() -> None:
    both = make_mig_parted_config(["A100-SXM4-40GB", "A100-SXM4-80GB"])["mig-configs"]
    assert both["all-1g.5gb"] == [{"devices": "all", "mig-enabled": True, "mig-devices": {"1g.5gb": 7}}]
    assert [(entry["device-filter"], entry["mig-devices"]) for entry in both["all-1g.10gb"]] == [
        (["0x20B010DE"], {"1g.10gb": 4}),
        (["0x20B210DE"], {"1g.10gb": 7}),
    ]


@given(st.lists(st.sampled_from(list(catalogue.load().gpus)), min_size=1, max_size=3, unique=True))
@settings(max_examples=40, deadline=None)
def test_emitted_layouts_are_legal(names: list[str]) -> None:
    layouts = parse_config(dump_config(make_mig_parted_config(names)))
    for model in map(catalogue.gpu, names):
        fitting = 0
        for layout in layouts.values():
            for rule in layout:
                if rule.matches(0, model.pci_device_ids) and all(p in model.profiles for p in rule.profiles):
                    assert find_placement(model, rule.profiles) is not None
                    fitting += 1
        assert fitting == len(model.profiles) + 3  # all-disabled, all-enabled, all-balanced
