"""What is read out of a packed chart."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from inferstack.errors import UserError
from inferstack.toolchain.charts import Archive, Pin
from tests.charts import make_chart, make_crd

PIN = Pin("parent", "1.2.3", "https://charts.invalid")


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """A chart with a sub-chart under an alias, CRDs in both, and a file with more of them."""
    chart = {
        "apiVersion": "v2",
        "name": "parent",
        "version": "1.2.3",
        "appVersion": "9",
        "dependencies": [{"name": "child", "alias": "kid"}, {"name": "absent"}],
    }
    files = {
        "Chart.yaml": yaml.safe_dump(chart),
        "charts/child/Chart.yaml": yaml.safe_dump({"name": "child", "version": "0.1.0"}),
        "charts/child/values.yaml": "a: 1\nb: {c: 2, d: 3}\n",
        "charts/child/crds/all.yaml": yaml.safe_dump_all([make_crd("as.example.com"), make_crd("bs.example.com")]),
        "templates/crds/no.yaml": yaml.safe_dump(make_crd("templated.example.com")),
        "files/crd-all.yaml": yaml.safe_dump(make_crd("kept.example.com")),
    }
    return make_chart(tmp_path, PIN, {"kid": {"b": {"c": 7}}}, [make_crd("cs.example.com")], files=files)


def test_name_and_versions(packed: Path) -> None:
    archive = Archive(packed)
    assert (archive.name, archive.version, archive.app_version) == ("parent", "1.2.3", "9")


def test_values_of_a_sub_chart_lie_below_its_alias_with_the_parents_over_them(packed: Path) -> None:
    assert Archive(packed).values == {"kid": {"a": 1, "b": {"c": 7, "d": 3}, "global": {}}, "global": {}}


def test_crds_of_the_chart_and_its_sub_charts_but_not_those_among_the_templates(packed: Path) -> None:
    names = [crd["metadata"]["name"] for crd in Archive(packed).crds]
    assert sorted(names) == ["as.example.com", "bs.example.com", "cs.example.com"]


def test_crds_of_a_named_file(packed: Path) -> None:
    (crd,) = Archive(packed).crds_of("files/crd-all.yaml")
    assert crd["metadata"]["name"] == "kept.example.com"
    with pytest.raises(UserError, match=r"has no files/other\.yaml: is it the chart that versions\.yaml names\?"):
        Archive(packed).crds_of("files/other.yaml")


def test_lone_equals_sign_is_text(tmp_path: Path) -> None:
    text = "apiVersion: v1\nkind: CustomResourceDefinition\nmetadata: {name: x}\nenum:\n- '!='\n- =\n"
    packed = make_chart(tmp_path, PIN, {}, files={"crds/x.yaml": text})
    assert Archive(packed).crds[0]["enum"] == ["!=", "="]


@pytest.mark.parametrize("content", [b"", b"no archive"])
def test_invalid_chart_archive_raises_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "chart.tgz"
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"^{path} is not a packed Helm chart"):
        Archive(path)


def test_missing_chart_raises_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"/none\.tgz: no such chart"):
        Archive(tmp_path / "none.tgz")
