"""What GitLab's jobs do first."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.ci.scripts import load

check_image, aws_token = load("check_image"), load("aws_token")


@pytest.mark.parametrize(
    ("image", "code"),
    [("r.example/ci@sha256:" + "a" * 64, 0), ("r.example/ci:1", 1), ("", 1), ("r.example/ci@sha256:abc", 1)],
)
def test_unpinned_image_is_refused(image: str, code: int) -> None:
    assert check_image.main(image) == code


def test_token_file_is_private(tmp_path: Path) -> None:
    file = tmp_path / "x" / "token"
    environment = {
        "INFERSTACK_AWS_TOKEN": "abc",
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(file),
        "AWS_ROLE_ARN": "arn:aws:iam::111111111111:role/ci",
    }
    assert aws_token.main(environment) == 0
    assert aws_token.main(environment) == 0
    assert file.read_text() == "abc"
    assert file.stat().st_mode & 0o777 == 0o600


def test_missing_variable_and_static_key_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert aws_token.main({}) == 1
    assert "AWS_ROLE_ARN must be set" in capsys.readouterr().err
    given = dict.fromkeys(("INFERSTACK_AWS_TOKEN", "AWS_ROLE_ARN", "AWS_ACCESS_KEY_ID"), "x")
    assert aws_token.main({**given, "AWS_WEB_IDENTITY_TOKEN_FILE": str(tmp_path / "t")}) == 1
    assert "AWS_ACCESS_KEY_ID is set" in capsys.readouterr().err
    assert not (tmp_path / "t").exists()
