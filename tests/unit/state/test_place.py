"""Where a state may be kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from inferstack.cli.stack.configuration import read_file
from inferstack.errors import UserError
from inferstack.project import project_root
from inferstack.state.place import backend_of, find_problems, provider_of, refuse, type_of

S3 = "s3://states?region=us-east-2&awssdk=v2"
KMS = "awskms://alias/x?region=us-east-2"


@pytest.mark.parametrize(
    ("place", "backend", "provider", "expected"),
    [
        ("local", None, None, []),
        ("aws", S3, KMS, []),
        ("aws", "file:///meant", "passphrase", []),
        ("aws", None, KMS, ["PULUMI_BACKEND_URL"]),
        ("aws", S3, None, ["secretsprovider"]),
        ("aws", None, None, ["PULUMI_BACKEND_URL", "secretsprovider"]),
        ("aws", S3, "awskms://alias/x", ["lacks ?region"]),
        ("aws", "s3://states", KMS, ["lacks ?region"]),
        ("local", None, "rot13", ["none of passphrase, awskms"]),
    ],
)
def test_stack_on_aws_requires_backend_and_secrets_provider(
    place: str, backend: str | None, provider: str | None, expected: list[str]
) -> None:
    problems = find_problems("prod", place, backend, provider)

    assert len(problems) == len(expected)
    assert all(word in problem for word, problem in zip(expected, problems, strict=True))
    if problems:
        with pytest.raises(UserError, match=r"docs/state\.md"):
            refuse(problems)


def test_environment_takes_precedence_over_the_project(tmp_path: Path) -> None:
    assert backend_of(tmp_path, {}) is None
    (tmp_path / "Pulumi.yaml").write_text(f"name: x\nbackend: {{url: '{S3}'}}\n")

    assert backend_of(tmp_path, {}) == S3
    assert backend_of(tmp_path, {"PULUMI_BACKEND_URL": "file:///x"}) == "file:///x"


@pytest.mark.parametrize("stack", ["dev", "staging", "prod"])
def test_shipped_aws_stacks_use_a_kms_key(stack: str) -> None:
    provider = provider_of(read_file(project_root() / "stacks" / f"Pulumi.{stack}.yaml"))

    assert type_of(provider) == "awskms"
    assert find_problems(stack, "aws", S3, provider) == []
