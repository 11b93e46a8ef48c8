"""CRDs from a module to the cache and back."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from inferstack.errors import UserError
from inferstack.project import project_root
from inferstack.toolchain import crds
from inferstack.toolchain.crds import store
from inferstack.toolchain.crds.modules import Source
from tests.unit.toolchain.crds.conftest import FILES, Serve
from tests.unit.until import until

NAMES = ["circles.example.test", "squares.example.test"]
NEVER = Source("shapes", "example.test/shapes", "v1.2.3", "h1:none", ("crds/*.yaml",))


def names_of(crds_loaded: list[dict[str, object]]) -> list[str]:
    return [crd["metadata"]["name"] for crd in crds_loaded]  # type: ignore[index]


def test_module_is_downloaded_once_and_only_its_named_files_are_read(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    available = {"shapes": serve()}
    messages: list[str] = []
    crds.ensure(available, messages.append, available=available)
    assert messages == ["CRDs of shapes: getting the Go module example.test/shapes@v1.2.3"]
    monkeypatch.setenv("PATH", "")
    crds.ensure(available, messages.append, available=available)
    assert len(messages) == 1
    assert names_of(crds.load("shapes", available=available)) == NAMES
    assert names_of(crds.load("shapes", {"squares.example.test"}, available=available)) == NAMES[1:]


def test_loaded_crds_have_descriptions_on_request_only(serve: Serve) -> None:
    available = {"shapes": serve()}
    short, long = (
        crds.load("shapes", NAMES[:1], described=described, available=available)[0] for described in (False, True)
    )
    schemas = [crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"] for crd in (short, long)]
    assert schemas[0] == {"type": "object", "properties": {"radius": {"type": "integer"}}}
    assert schemas[1]["description"] == "A circle."
    assert schemas[1]["properties"]["radius"] == {"type": "integer", "description": "In metres."}


def test_module_of_another_hash_is_refused_and_nothing_of_it_kept(serve: Serve, cache: Path, tmp_path: Path) -> None:
    source = serve(pin="h1:" + "A" * 43 + "=")
    with pytest.raises(UserError, match=r"does not match its pin \(versions.yaml, crds.shapes.sum\)"):
        crds.load("shapes", available={"shapes": source})
    assert not crds.place_of(source).exists()
    assert not (tmp_path / "modules" / "example.test").exists(), "Go has unpacked it"


def test_hash_holds_where_go_is_led_to_another_go_sum(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = serve(pin="h1:" + "A" * 43 + "=")
    (tmp_path / "go.mod").write_text("module other\n")
    monkeypatch.setenv("GOFLAGS", f"-modcacherw -modfile={tmp_path / 'go.mod'}")
    with pytest.raises(UserError, match=r"checksum mismatch: got h1:\S+, pinned is h1:A+="):
        crds.load("shapes", available={"shapes": source})
    assert not crds.place_of(source).exists()


def test_changed_module_of_the_same_version_is_refused(serve: Serve, tmp_path: Path) -> None:
    pinned = serve().sum
    (tmp_path / "proxy").rename(tmp_path / "first")
    source = serve({**FILES, "crds/circles.yaml": FILES["crds/circles.yaml"].replace("integer", "string")}, pin=pinned)
    with pytest.raises(UserError, match="checksum mismatch"):
        crds.load("shapes", available={"shapes": source})


def test_checksum_database_is_not_asked(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOSUMDB", "sum.example.test+00000000+AAAA")
    monkeypatch.setenv("GONOSUMDB", "")
    monkeypatch.setenv("GOFLAGS", "-modcacherw -mod=vendor")
    assert names_of(crds.load("shapes", available={"shapes": serve()})) == NAMES


def test_change_of_the_pin_meets_no_old_files(cache: Path) -> None:
    other = Source(NEVER.addon, NEVER.module, NEVER.version, "h1:other", NEVER.files)
    folders = {crds.place_of(NEVER), crds.place_of(other), crds.place_of(NEVER, described=True)}
    assert len(folders) == 3
    assert {folder.parent for folder in folders} == {cache / "crds"}


def test_interrupted_start_leaves_no_half_set(serve: Serve, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = serve()
    written: list[Path] = []

    def stop_at_the_second(self: Path, text: str) -> int:
        if self.suffix == ".json":
            written.append(self)
            if len(written) == 2:
                raise KeyboardInterrupt
        return self.write_bytes(text.encode())

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", stop_at_the_second)
        with pytest.raises(KeyboardInterrupt):
            crds.load("shapes", available={"shapes": source})
    assert len(written) == 2
    assert not crds.place_of(source).exists()
    assert [path.name for path in (cache / "crds" / ".work").iterdir()] == ["shapes.lock"]
    assert names_of(crds.load("shapes", available={"shapes": source})) == NAMES


async def test_what_a_killed_start_left_is_cleared_by_the_next(serve: Serve, cache: Path, tmp_path: Path) -> None:
    source = serve()
    slow = tmp_path / "slow"
    slow.mkdir()
    (slow / "go").write_text("#!/bin/sh\necho $$ > pid\nexec sleep 60\n")
    (slow / "go").chmod(0o755)
    code = "from inferstack.toolchain import crds; crds.load('shapes', available={'shapes': crds.Source(*%r)})"
    content = (source.addon, source.module, source.version, source.sum, source.files)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code % (content,)),
        cwd=project_root(),
        env={**os.environ, "PATH": f"{slow}:/usr/bin:/bin"},
    )
    work = cache / "crds" / ".work"
    await until(lambda: any(path.read_text().strip() for path in work.glob("shapes-*/pid")))
    process.kill()
    await process.wait()
    (pid,) = work.glob("shapes-*/pid")
    os.kill(int(pid.read_text()), signal.SIGKILL)
    assert list(work.glob("shapes-*"))
    assert names_of(crds.load("shapes", available={"shapes": source})) == NAMES
    assert list(work.glob("shapes-*")) == []


def test_two_starts_at_once_make_one_download(serve: Serve) -> None:
    available = {"shapes": serve()}
    messages: list[str] = []
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: crds.ensure(available, messages.append, available=available), range(2)))
    assert sum("getting the Go module" in line for line in messages) == 1
    assert names_of(crds.load("shapes", available=available)) == NAMES


def test_clean_removes_all(serve: Serve, cache: Path) -> None:
    crds.load("shapes", available={"shapes": serve()})
    assert store.clean() == [cache / "crds"]
    assert store.clean() == []
    assert list(cache.iterdir()) == []


def test_unknown_addon_and_an_unknown_crd_are_named(serve: Serve) -> None:
    available = {"shapes": serve()}
    with pytest.raises(UserError, match=r'^versions\.yaml: crds has no entry "colours"'):
        crds.ensure(["colours"], print, available=available)
    with pytest.raises(UserError, match=r"has no CRD triangles\.example\.test; it has circles\.example\.test, squares"):
        crds.load("shapes", ["triangles.example.test"], available=available)


@pytest.mark.parametrize(
    ("paths", "sentence"),
    [
        (
            "crds/*.yml",
            r"shapes@v1\.2\.3 has no file crds/\*\.yml: correct the entry \"shapes\" below crds in versions",
        ),
        ("go.mod", r"shapes@v1\.2\.3 has no CRD in go\.mod: correct the entry"),
    ],
)
def test_path_without_crd_error_names_it(serve: Serve, paths: str, sentence: str) -> None:
    files = {"go.mod": FILES["go.mod"], "crds/circles.yaml": FILES["crds/circles.yaml"]}
    with pytest.raises(UserError, match=sentence):
        crds.load("shapes", available={"shapes": serve(files, paths=paths)})


def test_missing_go_is_named(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match=r"Go is missing, and the CRDs of shapes come from .* install Go"):
        crds.load("shapes", available={"shapes": NEVER})


def test_module_that_cannot_be_reached_or_is_not_served_is_named(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    source = serve()
    available = {"shapes": Source(source.addon, source.module, "v9.9.9", source.sum, source.files)}
    with pytest.raises(UserError, match=r"^The Go module example\.test/shapes@v9\.9\.9 .* cannot be downloaded"):
        crds.load("shapes", available=available)
    monkeypatch.setenv("GOPROXY", "https://127.0.0.1:9")
    with pytest.raises(UserError, match=r"cannot be downloaded: .*GOPROXY"):
        crds.load("shapes", available=available)


def test_go_that_is_too_old_to_compile_the_module_still_brings_it(serve: Serve) -> None:
    files = {**FILES, "go.mod": f"{FILES['go.mod']}\ngo 1.999\n"}
    assert names_of(crds.load("shapes", available={"shapes": serve(files)})) == NAMES


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("INFERSTACK_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match=r"Cannot write below .*INFERSTACK_CACHE"):
        crds.load("shapes", available={"shapes": NEVER})
