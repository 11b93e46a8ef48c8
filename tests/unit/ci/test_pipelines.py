"""The pipelines call what a laptop calls, with the least rights, and nothing that can be exchanged behind our back."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from tests.unit.ci.pipelines import ROOT, command, github, gitlab

FLOWS = sorted((ROOT / ".github" / "workflows").glob("*.y*ml"))
GITLAB = ROOT / ".gitlab-ci.yml"


def flow(name: str) -> str:
    return (ROOT / ".github" / "workflows" / f"{name}.yml").read_text()


@pytest.mark.parametrize("path", FLOWS, ids=lambda path: path.name)
def test_workflow_is_valid(path: Path) -> None:
    assert github(path.read_text()) == []


def test_gitlab_file_is_valid() -> None:
    assert gitlab(GITLAB.read_text()) == []


def test_each_action_has_one_pin_everywhere() -> None:
    pins: dict[str, set[str]] = {}
    for path in FLOWS:
        for action, pin in re.findall(r"uses: ([\w/-]+)@(\S+ # \S+)", path.read_text()):
            pins.setdefault(action, set()).add(pin)
    assert pins
    assert {action: versions for action, versions in pins.items() if len(versions) > 1} == {}


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("ci", "@d23441a48e516b6c34aea4fa41551a30e30af803 # v6.1.0", "@v6", "actions/checkout is not pinned"),
        ("ci", " # v6.1.0", "", "actions/checkout is not pinned"),
        ("ci", "permissions:\n  contents: read", "permissions: write-all", "other permissions"),
        ("ci", "permissions:\n  contents: read\n", "", "other permissions"),
        ("ci", "  pull_request:\n", "  pull_request_target:\n", "it runs on pull_request_target"),
        ("ci", "    timeout-minutes: 60\n", "", "has no timeout"),
        ("ci", "persist-credentials: false", "persist-credentials: true", "leaves its token"),
        ("ci", "- run: .ci/run", "- run: .ci/runs", "there is no command .ci/runs"),
        ("ci", "- run: .ci/run", "- run: make tests", "make has no target tests"),
        ("ci", "- run: .ci/run", "- run: make lint && make test", "more than one command"),
        (
            "preview",
            "role-to-assume: ${{ vars.AWS_ROLE_ARN }}",
            "x: ${{ secrets.AWS_ACCESS_KEY_ID }}",
            "long-lived key",
        ),
        ("preview", "role-to-assume: ${{ vars.AWS_ROLE_ARN }}", "x: ${{ secrets.ROLE }}", "uses secrets"),
        ("preview", 'preview -s "$STACK"', "preview -s ${{ github.event.pull_request.title }}", "put into a command"),
        ("preview", "inferstack preview -s local", "inferstack previews -s local", "no command previews"),
        ("preview", "--report reports/local.json", "--reports reports/local.json", "no option --reports"),
        ("preview", "      id-token: write\n", "", "exactly where it works on AWS"),
        ("preview", "      pull-requests: write\n", "      packages: write\n", "may packages: write"),
        (
            "preview",
            "      pull-requests: write\n",
            "      pull-requests: write\n      id-token: write\n",
            "writes to pull",
        ),
        (
            "preview",
            "    if: github.event.pull_request.head.repo.full_name == github.repository\n",
            "",
            "job aws: a pull request from a fork",
        ),
        (
            "preview",
            " && github.event.pull_request.head.repo.full_name == github.repository",
            "",
            "job comment: a pull request from a fork",
        ),
        ("preview", "    environment: preview-${{ matrix.stack }}\n", "", "outside an environment"),
        (
            "stack-up",
            "    concurrency:\n      group: stack-${{ inputs.stack }}\n",
            "    x:\n      y: z\n",
            "no concurrency",
        ),
        ("nightly", "inferstack drift", "inferstack drifts", "no command drifts"),
    ],
)
def test_invalid_workflow_is_reported(name: str, old: str, new: str, message: str) -> None:
    text = flow(name)
    assert old in text
    assert any(message in sentence for sentence in github(text.replace(old, new)))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("image: $INFERSTACK_CI_IMAGE", "image: python:3.12", "not pinned by digest"),
        (
            "  before_script:\n    - tools/ci/check_image.py\n  script:\n    - .ci/run",
            "  script:\n    - .ci/runs",
            "no command",
        ),
        (
            "    - tools/ci/check_image.py\n    - tools/ci/aws_token.py",
            "    - tools/ci/aws_token.py",
            "look at its image",
        ),
        ("    - tools/ci/aws_token.py\n", "", "go together"),
        ("  timeout: 30 minutes\n", "", "has no timeout"),
        ("      when: manual\n", "", "prod without approval"),
        ("  resource_group: stack-prod\n", "", "at once"),
        ("aud: sts.amazonaws.com", "aud: $AWS_SECRET_ACCESS_KEY", "long-lived key"),
        (" && $CI_MERGE_REQUEST_SOURCE_PROJECT_ID == $CI_PROJECT_ID", "", "from a fork gets an identity"),
        ("inferstack orphans", "inferstack orphan", "no command orphan"),
    ],
)
def test_invalid_gitlab_file_is_reported(old: str, new: str, message: str) -> None:
    text = GITLAB.read_text()
    assert old in text
    assert any(message in sentence for sentence in gitlab(text.replace(old, new)))


def test_github_and_gitlab_deploy_the_same_stacks() -> None:
    stacks = set(yaml.safe_load(flow("preview"))["jobs"]["aws"]["strategy"]["matrix"]["stack"])
    in_gitlab = yaml.safe_load(GITLAB.read_text())["preview"]["parallel"]["matrix"][0]["STACK"]
    nightly = yaml.safe_load(flow("nightly"))["jobs"]["stack"]["strategy"]["matrix"]["stack"]
    on_aws = {
        path.name.split(".")[1] for path in (ROOT / "stacks").glob("Pulumi.*.yaml") if "place: aws" in path.read_text()
    }
    assert stacks == set(in_gitlab) == set(nightly) == on_aws
    for text in (flow("preview"), GITLAB.read_text()):
        (expected,) = re.findall(r"--expect ([a-z ]+) --", text)
        assert set(expected.split()) == {*on_aws, "local"}


def test_merge_is_promoted_through_stacks_and_prod_waits() -> None:
    jobs = yaml.safe_load(flow("deploy"))["jobs"]
    order = [(name, job.get("needs")) for name, job in jobs.items()]
    assert order == [("test", None), ("dev", "test"), ("staging", "dev"), ("prod", "staging")]
    assert {job["with"]["stack"] for name, job in jobs.items() if name != "test"} == {"dev", "staging", "prod"}
    up = yaml.safe_load(flow("stack-up"))["jobs"]["up"]
    # Whom the environment prod asks is a rule of the repository; that it is asked is ours.
    assert up["environment"] == "${{ inputs.stack }}"
    assert up["concurrency"]["cancel-in-progress"] is False


def test_drift_and_an_update_of_a_stack_exclude_each_other() -> None:
    up = yaml.safe_load(flow("stack-up"))["jobs"]["up"]["concurrency"]["group"]
    night = yaml.safe_load(flow("nightly"))["jobs"]["stack"]["concurrency"]["group"]
    assert up.partition("${{")[0] == night.partition("${{")[0] == "stack-"


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("make test", False),
        (".venv/bin/inferstack versions check -o json", False),
        (".venv/bin/inferstack versions checks", True),
        ("tools/ci/comment.py reports --post", False),
        ("tools/ci/pipelines.py", True),
        ("curl example.org | sh", True),
    ],
)
def test_unknown_command_is_reported(line: str, wrong: bool) -> None:
    assert bool(list(command(line))) is wrong
