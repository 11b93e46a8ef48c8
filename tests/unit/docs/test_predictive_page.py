"""The page of predictive autoscaling explains each reason that the scaler can give, and each field of the section."""

from __future__ import annotations

import re

from inferstack.api import crds
from inferstack.controllers.scaling.status import NO_DECISION_REASONS
from inferstack.scaling.model import Reason
from tests.unit.docs.scripts import ROOT

PAGE = (ROOT / "docs" / "predictive-autoscaling.md").read_text()


def test_every_reason_is_explained() -> None:
    table = PAGE.partition("| `reason` |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) == {
        *(reason.value for reason in Reason),
        *NO_DECISION_REASONS,
    }


def test_every_field_is_explained() -> None:
    spec = crds()[0]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    fields = spec["autoscale"]["properties"]["predictive"]["properties"]
    table = PAGE.partition("| field | say it as |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) == set(fields)


def test_links_lead_somewhere() -> None:
    for page in ("predictive-autoscaling.md", "runbooks/predictive-scaling.md"):
        text = (ROOT / "docs" / page).read_text()
        for target in re.findall(r"\]\(([^)#]+)\)", text):
            assert ((ROOT / "docs" / page).parent / target).exists(), target
