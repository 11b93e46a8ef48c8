"""`inferstack mig usage` as a user sees it; the API server is played by lists of objects."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from inferstack.cli import app
from inferstack.cli.mig import usage as mig_usage
from inferstack.errors import UserError
from tests.unit.mig.planner.fleets import H100
from tests.unit.mig.test_usage import balanced, make_pod

runner = CliRunner()
QUOTA = {
    "metadata": {"name": "q", "namespace": "b"},
    "spec": {"hard": {"requests.nvidia.com/mig-3g.40gb": "4"}},
}
OBJECTS: dict[str, list[Any]] = {
    "Node": [balanced()],
    "Pod": [make_pod("p", "n", {"mig-3g.40gb": 1}, "b"), make_pod("waits", None, {"mig-7g.80gb": 1})],
    "ResourceQuota": [QUOTA],
}


class PlayedServer:
    """Answers lists from `OBJECTS`."""

    async def list(self, api_version: str, kind: str) -> dict[str, Any]:
        assert api_version == "v1"
        return {"items": OBJECTS[kind]}


@pytest.fixture(autouse=True)
def served(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextlib.asynccontextmanager
    async def connected(kubeconfig: Path | None, context: str | None = None) -> AsyncIterator[PlayedServer]:
        yield PlayedServer()

    monkeypatch.setattr(mig_usage, "connected", connected)


def test_nodes_as_json_with_a_word_on_what_waits() -> None:
    done = runner.invoke(app, ["mig", "usage", "-o", "json"])
    assert done.exit_code == 0, done.output
    (row,) = json.loads(done.stdout)
    assert (row["node"], row["gpu"], row["gpus"], row["memory"], row["compute"]) == ("n", H100, 8, "4/64", "3/56")
    # 60 free; a 3g can use 28 of them, a 7g none.
    assert (row["utilisation"], row["fragmentation"]) == (round(4 / 64, 3), round((60 - 14) / 60, 3))
    assert "1 x 7g.80gb" in done.stderr


def test_namespaces_and_quotas_with_a_price() -> None:
    args = ["mig", "usage", "--price", f"{H100}=10", "-o", "json", "--by"]
    spaces = json.loads(runner.invoke(app, [*args, "namespace"]).stdout)
    assert [(row["namespace"], row["gpus"], row["usdPerHour"]) for row in spaces] == [
        ("b", 0.5, 5.0),
        ("(idle)", 7.5, 75.0),
    ]
    (row,) = json.loads(runner.invoke(app, [*args, "quota"]).stdout)
    assert (row["namespace"], row["instances"], row["memorySlices"], row["usdPerHour"]) == ("b", 4, 16, 20.0)


def test_metrics_are_prometheus_text() -> None:
    done = runner.invoke(app, ["mig", "usage", "--by", "metrics"])
    assert done.stdout.startswith("# HELP inferstack_mig_gpus")
    assert f'inferstack_mig_gpus{{node="n",gpu="{H100}"}} 8\n' in done.stdout


def test_without_a_price_the_list_price_of_the_instance_type_counts() -> None:
    assert mig_usage.list_prices()[H100] == pytest.approx(55.04 / 8)


@pytest.mark.parametrize(
    ("text", "message"),
    [("H900=1", "unknown GPU 'H900'"), (f"{H100}=much", "such as H200=8"), ("H200=-1", "0 or more")],
)
def test_a_wrong_price_is_named(text: str, message: str) -> None:
    with pytest.raises(UserError, match=f"--price {text}.*{message}"):
        mig_usage.read_prices([text])
