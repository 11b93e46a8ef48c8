"""Executables on PATH."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from inferstack.errors import UserError
from inferstack.toolchain.binaries import Tool, ensure, inspect, path_lookup
from inferstack.toolchain.binaries.catalogue import Group, accepts, group_of, groups, parse_version


@pytest.fixture
def put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Return a function that puts a `hello` with a script's body on PATH; each call of it is a line in `calls`."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")

    def write(body: str) -> Path:
        path = folder / "hello"
        path.write_text(f"#!/bin/sh\necho called >> {folder}/calls\n{body}\n")
        path.chmod(0o755)
        return path

    return write


def calls(path: Path) -> int:
    return len((path.parent / "calls").read_text().splitlines())


def test_accepted_version_on_path_is_used_and_nothing_is_fetched(
    put: Callable[[str], Path], hello: Group, cache: Path
) -> None:
    path = put("echo hello version v1.2.9-vendor.1")
    lines: list[str] = []
    assert ensure(["hello"], report=lines.append, available=[hello]) == {"hello": path}
    assert inspect(available=[hello]) == [Tool("hello", "v1.2.9-vendor.1", "path", path)]
    assert lines == []
    assert not (cache / "tools" / "hello").exists()


def test_another_version_on_path_is_passed_over_and_named(
    put: Callable[[str], Path], hello: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put("echo hello version v1.3.0")
    note = f"{path} is v1.3.0, wanted >=1.2.0,<1.3.0"
    assert inspect(["hello"], available=[hello]) == [Tool("hello", "v1.2.3", "missing", None, note)]
    with pytest.raises(UserError, match=r"^Go is missing, and hello "):
        ensure(["hello"], report=lambda _: None, available=[hello])


@pytest.mark.parametrize("body", ["echo something else", "echo hello version v1.2.3; exit 3", "echo version dev"])
def test_executable_that_tells_no_version_is_passed_over_and_asked_once(
    put: Callable[[str], Path], hello: Group, body: str
) -> None:
    path = put(body)
    for _ in range(3):
        assert path_lookup.good_enough(hello, "hello") is None
    assert calls(path) == 1


def test_executable_is_asked_again_only_when_it_changed(put: Callable[[str], Path], hello: Group) -> None:
    path = put("echo hello version v1.2.3")
    for _ in range(3):
        assert path_lookup.good_enough(hello, "hello") == (path, "v1.2.3")
    assert calls(path) == 1
    put("echo hello version v1.2.45")
    assert path_lookup.good_enough(hello, "hello") == (path, "v1.2.45")
    assert calls(path) == 2


def test_invalid_version_cache_is_recreated(put: Callable[[str], Path], hello: Group, cache: Path) -> None:
    path = put("echo hello version v1.2.3")
    (cache / "tools").mkdir(parents=True)
    for content in ("{", "[]", f'{{"{path}": 1}}'):
        (cache / "tools" / ".checks.json").write_text(content)
        assert path_lookup.good_enough(hello, "hello") == (path, "v1.2.3")


def test_path_may_be_left_out(put: Callable[[str], Path], hello: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    put("echo hello version v1.2.3")
    monkeypatch.setenv("INFERSTACK_TOOLS_FROM", "release")
    assert inspect(available=[hello])[0].origin == "missing"
    with pytest.raises(UserError, match="INFERSTACK_TOOLS_FROM excludes build"):
        ensure(["hello"], report=lambda _: None, available=[hello])
    monkeypatch.setenv("INFERSTACK_TOOLS_FROM", "path,magic")
    with pytest.raises(UserError, match=r'^INFERSTACK_TOOLS_FROM: .*"magic"'):
        inspect(available=[hello])


def test_kubectl_may_be_one_minor_version_off_and_the_servers_may_not() -> None:
    group = group_of("kubectl", groups())
    major, minor, _ = parse_version(group.version)
    near = [f"v{major}.{minor + step}.0" for step in (-2, -1, 0, 1, 2)]
    assert [accepts(group.path.range_of("kubectl"), version) for version in near] == [False, True, True, True, False]
    servers = [accepts(group.path.range_of("kube-apiserver"), version) for version in near]
    assert servers == [False, False, True, False, False]


@pytest.mark.parametrize(
    ("text", "version"), [("v1.34.4", (1, 34, 4)), ("3.6", (3, 6, 0)), ("v1.32.4-dispatcher", (1, 32, 4))]
)
def test_versions_are_read_with_what_follows_them_left_out(text: str, version: tuple[int, int, int]) -> None:
    assert parse_version(text) == version


def test_unknown_tool_is_named_with_the_known_ones(hello: Group) -> None:
    with pytest.raises(UserError, match='There is no tool "helo"; there are hello'):
        ensure(["helo"], report=print, available=[hello])


def test_warm_path_starts_no_process(put: Callable[[str], Path], hello: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    put("echo hello version v1.2.3")
    ensure(["hello"], report=print, available=[hello])

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr("subprocess.Popen", refuse)
    monkeypatch.setattr(os, "fork", refuse)
    ensure(["hello"], report=print, available=[hello])


def test_one_of_several_ranges_is_enough() -> None:
    bounds = ">=2.42.0,<4.0.0 || >=0.316.0,<0.400.0"
    versions = ["2.41.9", "2.42.0+ds", "3.16.0", "v0.316.0", "0.315.9", "4.0.0"]
    assert [accepts(bounds, version) for version in versions] == [False, True, True, True, False, False]
    with pytest.raises(ValueError, match="' new' is not a comparison"):
        accepts(">=1.0.0 || new", "1.2.3")


def test_tool_that_tells_no_version_is_never_taken_from_path(put: Callable[[str], Path], hello: Group) -> None:
    path = put("echo hello version v1.2.3; exit 2")
    silent = replace(hello, path=replace(hello.path, pattern=None))
    assert inspect(["hello"], available=[silent]) == [Tool("hello", "v1.2.3", "missing", None, "")]
    assert path_lookup.runs(path, silent.path, "hello")
    put("kill -9 $$")
    assert not path_lookup.runs(path, silent.path, "hello")
