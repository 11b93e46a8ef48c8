"""Every add-on from its Helm chart, through ``helm.sh/v3:Release``: up, up again, down, and nothing is left."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from components.platform.settings import PlatformSettings
from inferstack.apimachinery.labels import ADDON
from inferstack.project import project_root
from rehearsal.control_plane import Rehearsal
from tests.mirrored import make_mirror
from tests.rehearsal.command import InferstackCommand, Inventory, kubectl

pytestmark = [pytest.mark.rehearsal, pytest.mark.timeout(900)]

REAL = "INFERSTACK_TEST_CHARTS"


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InferstackCommand]:
    """The command on a control plane that runs, empty."""
    inferstack = InferstackCommand(tmp_path_factory.mktemp("charts") / "state")
    Rehearsal(inferstack.state).start(lambda _: None)
    try:
        yield inferstack
    finally:
        Rehearsal(inferstack.state).stop(purge=True)


@pytest.fixture(scope="module", params=["small", pytest.param("real", marks=pytest.mark.long)])
def mirror(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of charts: small ones with the real names, values and CRDs; the real ones where a folder is named."""
    if request.param == "real":
        if REAL not in os.environ:
            pytest.skip(f"{REAL} names no folder with the real charts (`inferstack mirror pack` fills one)")
        return Path(os.environ[REAL])
    folder = tmp_path_factory.mktemp("mirror")
    make_mirror(folder)
    return folder


def wanted() -> set[str]:
    """Return the add-ons that the stack local wants."""
    config = yaml.safe_load((project_root() / "stacks" / "Pulumi.local.yaml").read_text())["config"]
    settings = PlatformSettings.load({key.removeprefix("inferstack:"): value for key, value in config.items()})
    return set(settings.charts())


def test_up_and_destroy_of_all_charts(command: InferstackCommand, mirror: Path) -> None:
    empty: Inventory = command.settled_inventory()
    chosen = ["-c", "inferstack:addon.mode=chart", "-c", f"inferstack:addon.mirror={mirror}"]
    # As in prod: what charts and their controllers make is not refused by the rules that the API server holds.
    chosen += ["-c", "inferstack:security.policies.enforcement=mandatory"]

    first = command.run_checked("up", *chosen)

    assert re.search(r"^nlp-model-001\s.*\s8/8\s", first, re.MULTILINE), first
    markers = json.loads(kubectl(command, "get", "configmaps", "-A", "-l", ADDON, "-o", "json"))["items"]
    assert {marker["metadata"]["labels"][ADDON]: marker["data"]["mode"] for marker in markers} == dict.fromkeys(
        wanted(), "chart"
    )
    releases = json.loads(kubectl(command, "get", "secrets", "-A", "-l", "owner=helm", "-o", "json"))["items"]
    assert {release["metadata"]["labels"]["name"] for release in releases} == wanted()

    assert "no changes" in command.run_checked("up", *chosen)
    assert "0 orphans" in command.run_checked("orphans")

    command.run_checked("destroy", "--yes")

    left = command.inventory() - empty
    assert {entry for entry in left if entry[0] == "CustomResourceDefinition"} == set()
    assert left == set()
    assert "0 orphans" in command.run_checked("orphans")


def test_unknown_chart_value_fails_before_any_change(command: InferstackCommand, mirror: Path) -> None:
    empty = command.settled_inventory()
    code, output = command.run(
        "up",
        *("-c", "inferstack:addon.mode=chart", "-c", f"inferstack:addon.mirror={mirror}"),
        *("-c", "inferstack:addon.values.keda.operater.replicaCount=2"),
    )
    assert code == 1
    assert "inferstack:addon.values.keda.operater: the chart has no such value; did you mean operator?" in output
    assert command.inventory() == empty
