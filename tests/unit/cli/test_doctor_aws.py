"""``inferstack doctor -s``: the quotas of a stack on AWS."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from inferstack import aws
from inferstack.aws.quotas import QuotaCheck, Requirement
from inferstack.cli import app
from inferstack.cli.stack.doctor import check_quota
from inferstack.errors import UserError

NEED = Requirement("ec2", "L-417A185B", "Running On-Demand P instances", 768, "h100: 4 x p5.48xlarge")


def test_a_quota_that_is_large_enough() -> None:
    check = check_quota(QuotaCheck(NEED, 1000, 96))
    assert (check.check, check.state) == ("quota: Running On-Demand P instances", "ok")
    assert check.detail == "768 needed (h100: 4 x p5.48xlarge), 96 in use by others, 1000 allowed"


def test_a_quota_that_is_too_small_says_what_to_ask_for() -> None:
    check = check_quota(QuotaCheck(NEED, 768, 96))
    assert check.state == "missing"
    assert check.detail.endswith("768 allowed: ask Service Quotas for 864 (L-417A185B)")


def test_a_quota_that_nobody_tells_is_a_note() -> None:
    assert check_quota(QuotaCheck(NEED, None, 0)).state == "note"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What AWS was asked; it allows 768 of everything, and others have 96."""
    seen: dict[str, Any] = {}

    def check_quotas(region: str, account: str, stack: str, needs: list[Requirement]) -> list[QuotaCheck]:
        seen.update(region=region, account=account, stack=stack)
        return [QuotaCheck(requirements, 768, 96) for requirements in needs]

    monkeypatch.setattr(aws.quotas, "check_quotas", check_quotas)
    return seen


def test_a_stack_that_wants_too_much_fails(asked: dict[str, Any]) -> None:
    done = CliRunner().invoke(app, ["doctor", "-s", "prod", "-o", "json"])
    assert done.exit_code == 1
    assert asked == {"region": "us-east-2", "account": "333333333333", "stack": "prod"}
    states = {row["check"]: row["state"] for row in json.loads(done.stdout)}
    # Four p5 and four p4de are 1152 vCPUs.
    assert states["quota: Running On-Demand P instances"] == "missing"
    assert states["quota: VPCs per Region"] == "ok"
    assert "rehearsal" not in states


def test_without_credentials_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(*_: Any) -> Any:
        raise UserError("There are no credentials for AWS.")

    monkeypatch.setattr(aws.quotas, "check_quotas", nobody)
    done = CliRunner().invoke(app, ["doctor", "-s", "prod", "-o", "json"])
    assert done.exit_code == 1
    rows = {row["check"]: row for row in json.loads(done.stdout)}
    assert rows["aws account"]["state"] == "missing"
    assert rows["aws account"]["detail"] == "There are no credentials for AWS."
    # What is in place on this machine is said all the same.
    assert rows["python"]["state"] == "ok"


def test_an_unknown_stack() -> None:
    with pytest.raises(UserError, match='There is no stack "prd"'):
        CliRunner().invoke(app, ["doctor", "-s", "prd"], catch_exceptions=False)
