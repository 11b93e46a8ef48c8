"""The chart's values and the ClusterPolicy: of one make, valid by the real kind and the real chart."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.addon.catalogue import load
from components.addon.plan import chart_values, rehearsed_crds
from components.addon.settings import AddonSettings
from components.addon.values import check
from components.gpu import builders
from components.gpu.counters import GROUPS, make_csv
from components.gpu.counters import load as load_counters
from components.gpu.settings import GpuSettings
from components.settings import load_role
from inferstack.apimachinery.objects import Object
from inferstack.mig.sharing import Sharing, parse
from inferstack.project import cache_dir, project_root
from inferstack.toolchain.charts import pins
from inferstack.toolchain.charts.render import render
from tests import reference
from tests.chart_values import ChartDefaults
from tests.unit.api import structural
from tests.unit.components.test_fluid_kinds import differences

PIN = pins()["gpu-operator"]
FULL: Object = {
    "mig": {"strategy": "single", "reboot": True, "hostServices": ["nvsm.service"]},
    "driver": {
        "version": "580.173.02",
        "kernelModuleType": "open",
        "rdma": {"enabled": True, "useHostMofed": True},
        "upgrade": {"maxParallelNodes": 2, "maxUnavailable": "10%", "drain": True, "evictionSeconds": 60},
    },
    "cdi": {"nri": True},
    "timeSlicing": {"default": "four", "configs": {"four": {"resources": {"nvidia.com/gpu": 4}}}},
    "dcgmExporter": {"intervalSeconds": 5, "groups": ["profiling", "pipes"]},
    "daemonsets": {"tolerations": [{"key": "team", "operator": "Equal", "value": "nlp"}, {"key": "nvidia.com/gpu"}]},
    "validator": {"workload": True},
    "nfd": {"enabled": False},
}
CASES: dict[str, Object] = {
    "defaults": {},
    "all": FULL,
    "on images with a driver": {"driver": {"enabled": False}, "toolkit": {"enabled": False}},
    "without metrics": {"dcgmExporter": {"enabled": False}},
}


def settings(given: Object | None = None) -> GpuSettings:
    """Return the role's settings."""
    return load_role("gpu", GpuSettings, given)


def values(given: Object, *, monitored: bool = True) -> Object:
    """Return all values of the chart, those that the add-on framework adds included."""
    charts = builders.make_charts(settings(given), monitored=monitored)["gpu-operator"]
    return chart_values("gpu-operator", charts, load_role("addon", AddonSettings, None))


def policy(given: Object, *, monitored: bool = True) -> Object:
    """Return the ClusterPolicy of the rehearsal."""
    return builders.make_cluster_policy(settings(given), monitored=monitored)


def chart() -> Path:
    """Return the real chart, out of the folder that INFERSTACK_TEST_CHARTS names or the cache of pulled ones."""
    folders = [*map(Path, filter(None, [os.environ.get("INFERSTACK_TEST_CHARTS")])), cache_dir() / "charts"]
    path = next((folder / PIN.file for folder in folders if (folder / PIN.file).is_file()), None)
    if path is None:
        pytest.skip("INFERSTACK_TEST_CHARTS names no folder with the real charts (`inferstack mirror pack` fills one)")
    return path


def unlike(rehearsed: Any, rendered: Any, path: str = "spec") -> list[str]:
    """Return where ``theirs`` lacks what ``ours`` says; what it says beyond that is its own defaults."""
    if isinstance(rehearsed, Mapping) and isinstance(rendered, Mapping):
        missing = [f"{path}.{key} is missing" for key in rehearsed if key not in rendered and rehearsed[key] != {}]
        return missing + [
            line
            for key in rehearsed
            if key in rendered
            for line in unlike(rehearsed[key], rendered[key], f"{path}.{key}")
        ]
    return [] if rehearsed == rendered else [f"{path} is {rendered!r} and not {rehearsed!r}"]


@pytest.mark.reference
def test_the_rehearsed_kind_is_a_part_of_the_real_one() -> None:
    real = reference.crds("gpu-operator")["clusterpolicies.nvidia.com"]
    (rehearsed,) = rehearsed_crds("gpu-operator", load()["gpu-operator"])
    rehearsed_version, real_version = rehearsed["spec"]["versions"][0], real["spec"]["versions"][0]
    assert rehearsed_version["name"] == real_version["name"]
    assert (
        list(differences(rehearsed_version["schema"]["openAPIV3Schema"], real_version["schema"]["openAPIV3Schema"], ""))
        == []
    )


@pytest.mark.parametrize("case", CASES)
def test_a_policy_is_valid_by_the_rehearsed_kind_and_says_nothing_that_it_does_not_know(case: str) -> None:
    (crd,) = rehearsed_crds("gpu-operator", load()["gpu-operator"])
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    assert list(structural.faults(schema, policy(CASES[case])["spec"])) == []
    # A patch owns no required parts: those are its owner's.
    patch = builders.make_policy_patch(settings(CASES[case]))["spec"]
    assert list(structural.faults({**schema, "required": []}, patch)) == []


@pytest.mark.parametrize("case", CASES)
def test_chart_accepts_every_value(case: str, chart_defaults: ChartDefaults) -> None:
    assert list(check(values(CASES[case]), chart_defaults("gpu-operator"), load()["gpu-operator"].free)) == []


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("monitored", [True, False])
def test_the_real_chart_makes_the_policy_that_the_rehearsal_has(case: str, monitored: bool) -> None:
    rendered = render(chart(), "gpu-operator", builders.NAMESPACE, values(CASES[case], monitored=monitored))
    (cluster_policy,) = [obj for obj in rendered if obj["kind"] == "ClusterPolicy"]
    assert cluster_policy["metadata"]["name"] == builders.POLICY
    assert unlike(policy(CASES[case], monitored=monitored)["spec"], cluster_policy["spec"]) == []


def test_the_chart_makes_no_config_map_of_those_that_are_ours() -> None:
    rendered = render(chart(), "gpu-operator", builders.NAMESPACE, values(FULL))
    config_maps = {obj["metadata"]["name"] for obj in builders.make_config_maps(settings(FULL)).values()}
    assert config_maps
    assert not config_maps & {obj["metadata"]["name"] for obj in rendered if obj["kind"] == "ConfigMap"}


def test_a_difference_between_policy_and_chart_is_noticed() -> None:
    assert unlike({"a": {"b": 1, "c": 2}}, {"a": {"b": 2}, "z": 1}) == [
        "spec.a.c is missing",
        "spec.a.b is 2 and not 1",
    ]


@pytest.mark.parametrize("case", CASES)
def test_no_object_of_a_policy_is_empty(case: str) -> None:
    # Where the kind has defaults in it, an update would leave null of it.
    def empty(value: Any, path: str) -> list[str]:
        if not isinstance(value, dict):
            return []
        return (
            [path] if not value else [empty_path for key in value for empty_path in empty(value[key], f"{path}.{key}")]
        )

    assert empty(policy(CASES[case])["spec"], "spec") == []


def test_switched_off_and_installed_by_others_says_nothing_of_drivers() -> None:
    spec = policy({"driver": {"enabled": False}})["spec"]
    assert spec["driver"] == {"enabled": False}


def test_environment_values_are_strings() -> None:
    chart = values(FULL)
    env = [*chart["migManager"]["env"], *chart["dcgmExporter"]["env"], *chart["validator"]["plugin"]["env"]]
    assert env == [
        {"name": "WITH_REBOOT", "value": "true"},
        {"name": "DCGM_EXPORTER_INTERVAL", "value": "5000"},
        {"name": "WITH_WORKLOAD", "value": "true"},
    ]


@pytest.mark.parametrize(("seconds", "timeout"), [(1, "1s"), (10, "10s"), (15, "10s")])
def test_a_scrape_ends_before_the_next_one(seconds: int, timeout: str) -> None:
    monitor = values({"dcgmExporter": {"intervalSeconds": seconds}})["dcgmExporter"]["serviceMonitor"]
    assert (monitor["interval"], monitor["scrapeTimeout"]) == (f"{seconds}s", timeout)


@pytest.mark.parametrize(("given", "monitored"), [({}, False), ({"dcgmExporter": {"enabled": False}}, True)])
def test_nothing_is_scraped_without_kinds_or_without_an_exporter(given: Object, monitored: bool) -> None:
    assert values(given, monitored=monitored)["dcgmExporter"]["serviceMonitor"]["enabled"] is False


# --- ConfigMaps


def test_config_maps_are_named_as_policy_and_values_name_them() -> None:
    config_maps = builders.make_config_maps(settings(FULL))
    spec = policy(FULL)["spec"]
    assert {key: obj["metadata"]["name"] for key, obj in config_maps.items()} == {
        "time-slicing": spec["devicePlugin"]["config"]["name"],
        "dcgm-counters": spec["dcgmExporter"]["config"]["name"],
        "mig-host-services": spec["migManager"]["gpuClientsConfig"]["name"],
    }
    assert yaml.safe_load(config_maps["mig-host-services"]["data"]["clients.yaml"]) == {
        "version": "v1",
        "systemd-services": ["nvsm.service"],
    }


def test_another_content_is_another_name() -> None:
    def names(replicas: int) -> dict[str, str]:
        given = {**FULL, "timeSlicing": {"configs": {"four": {"resources": {"nvidia.com/gpu": replicas}}}}}
        return {key: obj["metadata"]["name"] for key, obj in builders.make_config_maps(settings(given)).items()}

    assert names(4) == names(4)
    assert {key for key in names(4) if names(4)[key] != names(8)[key]} == {"time-slicing"}


def test_without_sharing_services_or_metrics_there_is_no_config_map() -> None:
    assert builders.make_config_maps(settings({"dcgmExporter": {"enabled": False}})) == {}
    assert builders.make_config_maps(settings()).keys() == {"dcgm-counters"}


def test_the_device_plugin_reads_what_the_settings_say() -> None:
    given = {
        "timeSlicing": {
            "configs": {
                "a": {"resources": {"nvidia.com/gpu": 4, "nvidia.com/mig-1g.5gb": 2}},
                "b": {
                    "resources": {"nvidia.com/gpu": 2},
                    "renameByDefault": True,
                    "failRequestsGreaterThanOne": False,
                },
            }
        }
    }
    data = builders.make_config_maps(settings(given))["time-slicing"]["data"]
    assert {name: parse(text) for name, text in data.items()} == {
        "a": Sharing({"nvidia.com/gpu": 4, "nvidia.com/mig-1g.5gb": 2}, rename=False, fail_more_than_one=True),
        "b": Sharing({"nvidia.com/gpu": 2}, rename=True, fail_more_than_one=False),
    }
    assert {yaml.safe_load(text)["flags"]["migStrategy"] for text in data.values()} == {"mixed"}


def test_the_patch_of_somebody_elses_policy_owns_cutting_and_what_is_shared() -> None:
    plain = builders.make_policy_patch(settings())["spec"]
    assert plain == {
        "mig": {"strategy": "mixed"},
        "migManager": {"enabled": True, "config": {"name": builders.CONFIG_MAP, "default": "all-disabled"}},
    }
    shared = builders.make_policy_patch(settings(FULL))["spec"]
    assert shared.keys() == {"mig", "migManager", "devicePlugin"}
    assert shared["devicePlugin"]["config"]["default"] == "four"
    assert unlike(plain["migManager"], policy({})["spec"]["migManager"]) == []


# --- counters


def test_the_exporters_file_is_three_columns_of_distinct_fields() -> None:
    lines = make_csv(GROUPS).splitlines()
    rows = [row for row in csv.reader(lines, skipinitialspace=True) if not row[0].startswith("#")]
    assert {len(row) for row in rows} == {3}
    assert {row[1] for row in rows} == {"gauge", "counter", "label"}
    names = [row[0] for row in rows]
    assert len(names) == len(set(names))


@pytest.mark.reference
def test_every_counter_is_one_of_the_exporters_own_files() -> None:
    files = [reference.file("data", f"dcgm_{name}.csv") for name in ("dcp-metrics-included", "default-counters")]
    fields = {name for file in files for name in re.findall(r"DCGM_FI_\w+", file.read_text())}
    assert {counter.field for group in load_counters().values() for counter in group} <= fields


def test_only_the_groups_that_are_asked_for_are_measured() -> None:
    fields = re.findall(r"^(DCGM_\w+)", make_csv(["power"]), re.MULTILINE)
    assert fields == [counter.field for counter in load_counters()["power"]]
    assert "DCGM_FI_PROF_SM_ACTIVE" in make_csv(settings().dcgm_exporter.groups)


def test_dashboards_alerts_and_rules_ask_for_nothing_that_is_not_measured() -> None:
    measured = set(re.findall(r"DCGM_FI_\w+", make_csv(settings().dcgm_exporter.groups)))
    folder = project_root() / "components" / "monitoring"
    asked = {name for file in folder.glob("*.py") for name in re.findall(r"DCGM_FI_\w+", file.read_text())}
    assert asked
    assert asked <= measured
