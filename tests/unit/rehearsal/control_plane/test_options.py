"""The options of a rehearsal: kept, and asked for by a stack."""

from __future__ import annotations

from pathlib import Path

import pytest

from inferstack.cli.stack.control_plane import plane_options
from rehearsal.control_plane import Adapter, PlaneOptions, Rehearsal, required_tools
from rehearsal.control_plane.components import adapter, build_enabled, build_every
from rehearsal.control_plane.model import PlaneConfig, Ports, read_options, write_options

PORTS = Ports(*range(20001, 20012))
RULE = {"seriesQuery": "x"}


def test_options_are_stored(tmp_path: Path) -> None:
    path = tmp_path / "run" / "options.json"
    assert read_options(path) == PlaneOptions()
    given = PlaneOptions(metrics=True, adapter=Adapter((RULE,), 3), hpa_sync_seconds=0.5, hpa_downscale_seconds=9)
    write_options(path, given)
    assert read_options(path) == given
    assert Rehearsal(tmp_path).options == given


def test_stack_roles_determine_options() -> None:
    current = PlaneOptions(hpa_sync_seconds=1)
    both = plane_options({}, current)
    assert both.metrics
    assert both.hpa_sync_seconds == 1
    assert both.adapter is not None
    assert both.adapter.relist_seconds == 30
    assert {rule["name"]["as"] for rule in both.adapter.rules} >= {"inference_queue_depth"}
    quick = plane_options({"inferstack:autoscaling": {"adapter": {"relistSeconds": 5}}}, current).adapter
    assert quick is not None
    assert quick.relist_seconds == 5


@pytest.mark.parametrize(
    ("configuration", "metrics"),
    [
        ({"inferstack:monitoring": {"enabled": False}}, False),
        ({"inferstack:autoscaling": {"enabled": False}}, True),
        ({"inferstack:autoscaling": {"adapter": {"enabled": False}}}, True),
    ],
)
def test_disabled_role_disables_components(configuration: dict[str, object], metrics: bool) -> None:
    options = plane_options(configuration, PlaneOptions(metrics=True, adapter=Adapter((RULE,))))
    assert (options.metrics, options.adapter) == (metrics, None)


def test_options_determine_components_and_tools() -> None:
    def names(options: PlaneOptions) -> set[str]:
        return {component.name for component in build_enabled(PlaneConfig(Path("/state"), PORTS, options))}

    plain = names(PlaneOptions())
    assert names(PlaneOptions(metrics=True)) - plain == {"load", "prometheus"}
    assert names(PlaneOptions(metrics=True, adapter=Adapter())) - plain == {"load", "prometheus", "prometheus-adapter"}
    assert names(PlaneOptions(adapter=Adapter())) == plain
    assert {c.name for c in build_every(PlaneConfig(Path("/state"), PORTS))} - plain == {
        "load",
        "prometheus",
        "prometheus-adapter",
    }
    assert "prometheus-adapter" not in required_tools(PlaneOptions(metrics=True))
    assert {"prometheus", "prometheus-adapter"} <= set(required_tools(PlaneOptions(metrics=True, adapter=Adapter())))


def test_changed_rules_change_argument_and_remove_old_file(tmp_path: Path) -> None:
    """The adapter reads its file once: with a changed argument it is started again."""
    configs = [
        PlaneConfig(tmp_path, PORTS, PlaneOptions(metrics=True, adapter=Adapter(rules))) for rules in ((), (RULE,))
    ]
    assert len({adapter.build_adapter(config).args[0] for config in configs}) == 2
    for config in configs:
        adapter.write_rules(config)
    (file,) = (tmp_path / "prometheus").glob("rules-*.json")
    assert adapter.build_adapter(configs[1]).args[0] == f"--config={file}"
    assert '"seriesQuery": "x"' in file.read_text()


def test_ports_of_earlier_version_are_read(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "ports.json").write_text(
        '{"etcd": 1, "etcd_peer": 2, "etcd_metrics": 3, "apiserver": 4, "controller_manager": 5, "scheduler": 6, '
        '"kwok": 7, "agent": 8}'
    )
    assert {status.state for status in Rehearsal(tmp_path).status()} == {"stopped"}
    assert Rehearsal(tmp_path).prometheus_url is None
