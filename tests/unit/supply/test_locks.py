"""What is installed is what was locked: hashes everywhere, no index named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from inferstack.supply import locks, modules
from inferstack.supply.images import images
from inferstack.versions import load

ROOT = Path(__file__).parents[3]
LOCKS = sorted((ROOT / "requirements").glob("*.lock"))
GOOD = "aiohttp==3.14.5 ; python_version >= '3.11' \\\n    --hash=sha256:" + "a" * 64 + "\n    # via -r run.in\n"


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.name)
def test_every_package_has_hashes_and_no_line_is_anything_else(path: Path) -> None:
    packages = locks.parse(path.read_text())
    assert packages
    assert all(package.hashes and all(len(digest) == 64 for digest in package.hashes) for package in packages)
    assert not re.search(r"https?://|--(extra-)?index-url|--find-links|file:", path.read_text())


def test_all_that_is_asked_for_is_locked_and_each_list_has_its_lock() -> None:
    assert {path.stem for path in LOCKS} == {path.stem for path in (ROOT / "requirements").glob("*.in")}
    locked = {package.name for packages in locks.read(ROOT / "requirements").values() for package in packages}
    assert set(locks.direct(ROOT / "requirements")) <= locked


def test_locks_agree_on_what_a_user_the_operator_and_the_scaler_run() -> None:
    held = {
        name: {package.name: package.version for package in packages}
        for name, packages in locks.read(ROOT / "requirements").items()
    }
    for name in ("operator", "scaler", "test"):
        shared = held[name].keys() & held["run"].keys()
        assert {key: held[name][key] for key in shared} == {key: held["run"][key] for key in shared}
    assert held["run"].keys() <= held["test"].keys()


def test_package_is_read_with_its_marker() -> None:
    (package,) = locks.parse(GOOD)
    assert (package.name, package.version, package.marker) == ("aiohttp", "3.14.5", "python_version >= '3.11'")
    assert package.hashes == ("a" * 64,)


@pytest.mark.parametrize(
    "text",
    [
        "aiohttp==3.14.5\n",
        "aiohttp>=3 --hash=sha256:" + "a" * 64,
        "--index-url https://example.org/simple\n" + GOOD,
        "aiohttp @ https://example.org/a.whl --hash=sha256:" + "a" * 64,
        GOOD.replace("sha256", "md5"),
        "-e .\n",
    ],
)
def test_lock_without_hashes_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a pin with hashes|hash algorithm"):
        locks.parse(text)


def test_go_sum_holds_the_content_of_every_module_that_go_mod_asks_for() -> None:
    folders = {path.parent for path in (ROOT / "tools").glob("*/go.mod")}
    assert folders == {path.parent for path in (ROOT / "tools").glob("*/go.sum")}
    tools = modules.read(ROOT / "tools")
    assert set(tools) == set(load()["tools"])
    # Go writes no hash of a module whose packages nobody imports; it is then not fetched either.
    without = {module.path for required in tools.values() for module in required if not module.sum}
    assert without == set()


def test_module_is_read_with_its_hash_and_its_replacement() -> None:
    mod = "module x\n\ntool a.b/c/cmd/d\n\nrequire (\n\ta.b/c v1.2.3\n\td.e/f v0.0.0 // indirect\n)\n"
    mod += "\nreplace d.e/f => g.h/i v1.0.0\n"
    sums = "a.b/c v1.2.3 h1:AAA=\na.b/c v1.2.3/go.mod h1:BBB=\ng.h/i v1.0.0 h1:CCC=\n"
    parsed = modules.parse(mod, sums)
    assert [(module.path, module.version, module.sum) for module in parsed] == [
        ("a.b/c", "v1.2.3", "h1:AAA="),
        ("g.h/i", "v1.0.0", "h1:CCC="),
    ]
    (package,) = modules.built(mod)
    assert modules.holding(package, parsed).path == "a.b/c"
    with pytest.raises(LookupError, match=r"z\.y"):
        modules.holding("z.y/x", parsed)


def test_each_image_has_a_digest_or_a_reason() -> None:
    references = images(load())
    assert all(len(image.missing) > 20 for image in references if not image.digest)
    assert [image.name for image in references if image.digest] == ["vllm"]


@pytest.mark.parametrize(
    ("digests", "message"),
    [
        ({}, r"^digests\.a: "),
        ({"a": {"digest": "sha256:12"}}, r"^digests\.a: .*SHA-256"),
        ({"a": {"digest": "sha256:" + "a" * 64, "missing": "x"}}, r"^digests\.a: "),
        ({"a": {"missing": "x"}, "b": {"missing": "x"}}, "no such image"),
    ],
)
def test_image_without_digest_or_reason_is_refused(digests: dict[str, dict[str, str]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        images({"images": {"a": "r.example:5000/x/y:1"}, "digests": digests})


def test_image_reference_is_parsed() -> None:
    (image,) = images({"images": {"a": "r.example:5000/x/y"}, "digests": {"a": {"missing": "why"}}})
    assert (image.repository, image.tag) == ("r.example:5000/x/y", "")
    (image,) = images({"images": {"a": "x/y:1@sha256:" + "b" * 64}, "digests": {}})
    assert (image.repository, image.tag, image.digest) == ("x/y", "1", "sha256:" + "b" * 64)
