"""The copy of a stack's configuration that the engine is given: its salt, and what goes back to the user's file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from inferstack.cli.stack.configuration import with_salt
from inferstack.cli.stack.session import Session
from inferstack.errors import UserError

MakeSession = Callable[[str], Session]

PLAIN = "# why\nconfig:\n  inferstack:place: local # here\n"
SALT = "encryptionsalt: v1:theirs\n"
KEPT = PLAIN + "encryptionsalt: v1:ours\n"
SECRET = PLAIN + "  inferstack:token:\n    secure: v1:abc\n"
SECRET_IN_A_LIST = PLAIN + "  inferstack:tokens:\n    - secure: v1:abc\n"


@pytest.mark.parametrize(
    ("source", "kept", "expected"),
    [
        (PLAIN, "", PLAIN),
        (PLAIN, PLAIN, PLAIN),
        (PLAIN, KEPT, KEPT),
        (PLAIN.rstrip("\n"), KEPT, KEPT),
        (PLAIN + SALT, "", PLAIN + SALT),
        (PLAIN + SALT, KEPT, KEPT),
        (SALT + PLAIN, KEPT, KEPT),
        (SECRET + SALT, KEPT, SECRET + SALT),
        (SECRET_IN_A_LIST + SALT, KEPT, SECRET_IN_A_LIST + SALT),
        (
            PLAIN + "  inferstack:a: {secure: v1:abc}\n" + SALT,
            KEPT,
            PLAIN + "  inferstack:a: {secure: v1:abc}\n" + SALT,
        ),
        (PLAIN + "  # secure: no\n  inferstack:a: {secure: true}\n", KEPT, None),
        ("", KEPT, "\nencryptionsalt: v1:ours\n"),
    ],
    ids=[
        "first time",
        "no salt yet",
        "kept salt",
        "no newline at the end",
        "their salt, nothing kept",
        "their salt is of no use",
        "their salt comes first",
        "their secret",
        "their secret in a list",
        "their secret in one line",
        "only looks like a secret",
        "empty file",
    ],
)
def test_which_salt_holds(source: str, kept: str, expected: str | None) -> None:
    assert with_salt(source, kept) == (expected or source + "encryptionsalt: v1:ours\n")


@pytest.fixture
def session(make_session: MakeSession) -> Session:
    """A session that has selected its stack, whose engine has left a salt in the copy."""
    session = make_session("exit 0\n")
    session.source.write_text(PLAIN)
    session.config_file.parent.mkdir(parents=True)
    session.config_file.write_text("encryptionsalt: v1:ours\n")
    session.select()
    assert session.config_file.read_text() == KEPT
    return session


def test_a_salt_alone_is_not_carried_back(session: Session) -> None:
    before = session.source.stat().st_mtime_ns

    session.keep_configuration()

    assert session.source.read_text() == PLAIN
    assert session.source.stat().st_mtime_ns == before


def test_a_plain_value_is_carried_back_with_comments_and_without_the_salt(session: Session) -> None:
    session.config_file.write_text(KEPT.replace("local # here", "existing # there"))

    session.keep_configuration()

    assert session.source.read_text() == PLAIN.replace("local # here", "existing # there")


@pytest.mark.parametrize("secret", [SECRET, SECRET_IN_A_LIST], ids=["value", "in a list"])
def test_an_encrypted_value_is_carried_back_with_its_salt(session: Session, secret: str) -> None:
    session.config_file.write_text(secret + "encryptionsalt: v1:ours\n")

    session.keep_configuration()

    assert session.source.read_text() == secret + "encryptionsalt: v1:ours\n"
    # On another machine that salt holds, not the one that its copy has.
    assert with_salt(session.source.read_text(), KEPT.replace("ours", "other")) == session.source.read_text()


def test_the_users_file_outlives_the_removal_of_its_stack(session: Session) -> None:
    session.source.unlink()  # as `stack rm` does

    session.keep_configuration()

    assert session.source.read_text() == PLAIN


def test_values_are_those_that_the_engine_is_given(session: Session, make_session: MakeSession) -> None:
    session.config_file.write_text("config:\n  inferstack:place: existing\n")  # as --config does

    assert session.configuration() == {"inferstack:place": "existing"}
    assert Session("here", lambda _: None).configuration() == {"inferstack:place": "local"}
    session.remove()
    assert session.configuration() == {"inferstack:place": "local"}


@pytest.mark.parametrize("content", ["config: [a", "config:\n  - a\n", "a string"], ids=["no YAML", "a list", "a word"])
def test_a_file_that_cannot_be_read_is_told_before_anything_is_made(make_session: MakeSession, content: str) -> None:
    session = make_session("exit 0\n")
    session.source.write_text(content)

    for look in (session.configuration, session.select):
        with pytest.raises(UserError) as caught:
            look()
        assert str(caught.value).startswith(str(session.source))
        assert "\n" not in str(caught.value)
    assert not session.state.exists()


@pytest.mark.parametrize("content", ["", "config:\n", "environment: [a]\n"], ids=["empty", "no value", "no key"])
def test_a_file_may_set_nothing(make_session: MakeSession, content: str) -> None:
    session = make_session("exit 0\n")
    session.source.write_text(content)

    assert session.configuration() == {}


def test_an_unknown_stack_is_refused_with_those_there_are(project: Path) -> None:
    with pytest.raises(UserError) as caught:
        Session("nowhere", lambda _: None)

    file = project / "stacks" / "Pulumi.nowhere.yaml"
    assert str(caught.value) == f'There is no stack "nowhere" ({file}); there are here, there.'


def test_settings_go_to_the_copy(make_session: MakeSession, tmp_path: Path) -> None:
    session = make_session(f"printf '%s\\n' \"$@\" > '{tmp_path}/asked'\n")

    session.configure(["a:b.c=1", "a:d=x=y"])

    words = (tmp_path / "asked").read_text().split("\n")
    assert words[:7] == ["config", "set-all", "--path", "--plaintext", "a:b.c=1", "--plaintext", "a:d=x=y"]
    assert words[words.index("--config-file") + 1] == str(session.config_file)


def test_a_setting_without_a_value_is_refused_before_the_engine_is_asked(
    make_session: MakeSession, tmp_path: Path
) -> None:
    session = make_session(f"touch '{tmp_path}/asked'\n")

    with pytest.raises(UserError, match=r"^--config a:d: expected KEY=VALUE"):
        session.configure(["a:b=1", "a:d"])

    session.configure([])
    assert not (tmp_path / "asked").exists()


def test_what_the_engine_refuses_is_told_in_its_words(make_session: MakeSession) -> None:
    session = make_session("echo 'error: bad key' >&2; exit 255\n")

    with pytest.raises(UserError, match=r"^pulumi config set-all .* failed: bad key$"):
        session.configure(["a:b=1"])
