"""docs/predictive-autoscaling.md documents every reason of the scaler and every field of the section."""

from __future__ import annotations

import re

from inferstack.api import crds
from inferstack.controllers.scaling.status import NO_DECISION_REASONS
from inferstack.scaling.model import Reason
from tests.unit.docs.scripts import ROOT

PAGE = (ROOT / "docs" / "predictive-autoscaling.md").read_text()


def test_page_documents_every_reason() -> None:
    table = PAGE.partition("| `reason` |")[2].partition("\n\n")[0]
    reasons = {*(reason.value for reason in Reason), *NO_DECISION_REASONS}
    assert set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) == reasons


def test_page_documents_every_field() -> None:
    spec = crds()[0]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    fields = spec["autoscale"]["properties"]["predictive"]["properties"]
    table = PAGE.partition("| field | meaning |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) == set(fields)


def test_relative_links_exist() -> None:
    for page in ("predictive-autoscaling.md", "runbooks/predictive-scaling.md"):
        text = (ROOT / "docs" / page).read_text()
        for target in re.findall(r"\]\(([^)#]+)\)", text):
            assert ((ROOT / "docs" / page).parent / target).exists(), target
