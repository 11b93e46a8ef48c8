"""What is wrong with a pipeline's file, as sentences: for GitHub's workflows and GitLab's one file."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import typer
import yaml

from inferstack.cli import app

ROOT = Path(__file__).parents[3]
_USES = re.compile(r"uses:\s*(?P<action>\S+?)(@(?P<pin>\S+))?(?P<tag>\s+# v\d+\.\d+\.\d+)?\s*$", re.MULTILINE)
_TARGET = re.compile(r"^([a-z-]+):", re.MULTILINE)
_AWS = "aws-actions/configure-aws-credentials"
_OURS = "github.event.pull_request.head.repo.full_name == github.repository"
_OURS_GITLAB = "$CI_MERGE_REQUEST_SOURCE_PROJECT_ID == $CI_PROJECT_ID"
_KEYS = re.compile(r"AWS_(ACCESS_KEY_ID|SECRET_ACCESS_KEY|SESSION_TOKEN)")
_MAY = {"contents": {"read"}, "id-token": {"write"}, "pull-requests": {"write"}}


def github(text: str) -> list[str]:
    """Return what is wrong with a workflow."""
    flow = yaml.safe_load(text)
    on = flow[True]  # YAML 1.1 reads the key `on` as true
    wrong = list(_unpinned(text))
    if flow.get("permissions") != {"contents": "read"}:
        wrong.append("the workflow has other permissions than contents: read")
    wrong += [f"it runs on {event}" for event in ("pull_request_target", "workflow_run") if event in on]
    if re.search(r"\bsecrets\b", text):
        wrong.append("it uses secrets")
    if _KEYS.search(text):
        wrong.append("it names a long-lived key of AWS")
    for name, job in flow["jobs"].items():
        wrong += [f"job {name}: {problem}" for problem in _job(job, flow)]
        writes = set(job.get("permissions", {}).values()) != {"read"} and "permissions" in job
        if "pull_request" in on and writes and _OURS not in str(job.get("if", "")):
            wrong.append(f"job {name}: a pull request from a fork gets more than to read")
    return wrong


def _unpinned(text: str) -> Iterator[str]:
    for match in _USES.finditer(text):
        if match["action"].startswith("./"):
            continue
        if not re.fullmatch(r"[0-9a-f]{40}", match["pin"] or "") or not match["tag"]:
            yield f"{match['action']} is not pinned by commit with its tag behind"


def _job(job: Mapping[str, Any], flow: Mapping[str, Any]) -> Iterator[str]:
    rights = job.get("permissions", {})
    for name, value in rights.items():
        if value not in _MAY.get(name, ()):
            yield f"may {name}: {value}"
    steps = job.get("steps", [])
    works_on_aws = any(str(step.get("uses", "")).startswith(_AWS) for step in steps)
    called = str(job.get("uses", "")).endswith("stack-up.yml")
    if ("id-token" in rights) != (works_on_aws or called):
        yield "has an identity exactly where it works on AWS: not so"
    if "id-token" in rights and "pull-requests" in rights:
        yield "works on AWS and writes to pull requests"
    if "uses" in job:
        return
    if "timeout-minutes" not in job:
        yield "has no timeout"
    if "concurrency" not in job and "concurrency" not in flow:
        yield "has no concurrency group"
    if works_on_aws and "environment" not in job:
        yield "works on AWS outside an environment"
    for step in steps:
        checks_out = str(step.get("uses", "")).startswith("actions/checkout@")
        if checks_out and step.get("with", {}).get("persist-credentials") is not False:
            yield "the checkout leaves its token behind"
        if "run" in step:
            yield from command(step["run"])


def gitlab(text: str) -> list[str]:
    """Return what is wrong with GitLab's file."""
    content = yaml.safe_load(text)
    wrong = ["it names a long-lived key of AWS"] if _KEYS.search(text) else []
    default = content["default"]
    for name, plain in content.items():
        if name.startswith(".") or not isinstance(plain, dict) or "script" not in (job := resolved(content, plain)):
            continue
        job = {**default, **job}
        before = job["before_script"]
        image = str(job["image"])
        if image != "$INFERSTACK_CI_IMAGE" and not re.fullmatch(r"\S+@sha256:[0-9a-f]{64}", image):
            wrong.append(f"job {name}: the image is not pinned by digest")
        if "tools/ci/check_image.py" not in before[:1]:
            wrong.append(f"job {name}: does not look at its image first")
        if ("id_tokens" in job) != ("tools/ci/aws_token.py" in before) or ("id_tokens" in job) != (
            "environment" in job
        ):
            wrong.append(f"job {name}: identity, token and environment go together: not so")
        on_request = [rule["if"] for rule in job["rules"] if "merge_request_event" in rule.get("if", "")]
        if "id_tokens" in job and not all(_OURS_GITLAB in condition for condition in on_request):
            wrong.append(f"job {name}: a merge request from a fork gets an identity")
        if "timeout" not in job:
            wrong.append(f"job {name}: has no timeout")
        updates = any(" up " in line for line in job["script"])
        if updates and not str(job.get("resource_group", "")).startswith("stack-"):
            wrong.append(f"job {name}: two of them could work on a stack at once")
        if updates and job["variables"]["STACK"] == "prod" and not all(r.get("when") == "manual" for r in job["rules"]):
            wrong.append(f"job {name}: prod without approval")
        for line in [*before, *job["script"]]:
            wrong += [f"job {name}: {rule}" for rule in command(line)]
    return wrong


def resolved(content: Mapping[str, Any], job: Mapping[str, Any]) -> dict[str, Any]:
    """Return a job with all that it extends; mappings are merged, all else is replaced, as GitLab does."""
    extended = job.get("extends", [])
    result: dict[str, Any] = {}
    for part in [*([extended] if isinstance(extended, str) else extended), job]:
        for key, value in (resolved(content, content[part]) if isinstance(part, str) else part).items():
            old = result.get(key)
            result[key] = {**old, **value} if isinstance(old, dict) and isinstance(value, dict) else value
    return result


def command(line: str) -> Iterator[str]:
    """Yield what is wrong with a step's command: it is to be one that a laptop has as well."""
    if "${{" in line:
        yield f"text is put into a command: {line}"
    words = shlex.split(line, posix=True)
    if "\n" in line.strip() or any(mark in line for mark in ("&&", "||", ";", "|", ">", "$(")):
        yield f"more than one command: {line}"
    elif words[0] == "make":
        targets = _TARGET.findall((ROOT / "Makefile").read_text())
        yield from (f"make has no target {word}" for word in words[1:] if word not in targets)
    elif words[0] == ".venv/bin/inferstack":
        yield from _verb(words[1:])
    elif not (path := ROOT / words[0]).is_file() or not os.access(path, os.X_OK):
        yield f"there is no command {words[0]}"


def _verb(words: list[str]) -> Iterator[str]:
    """Yield what the command line does not know."""
    current: Any = typer.main.get_command(app)
    context = current.make_context("inferstack", [], resilient_parsing=True)
    while words and hasattr(current, "get_command"):
        name, words = words[0], words[1:]
        current = current.get_command(context, name)
        if current is None:
            yield f"inferstack has no command {name}"
            return
    options = {option for parameter in current.loaded.params for option in parameter.opts}
    yield from (
        f"{current.name} has no option {word}" for word in words if word.startswith("-") and word not in options
    )
