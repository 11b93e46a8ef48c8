"""The commands of the controllers' containers, of this release and of the one before."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's files as the Containerfile copies them."""
    root = tmp_path_factory.mktemp("image")
    for line in (ROOT / "Containerfile").read_text().splitlines():
        words = line.split()
        if words[:1] != ["COPY"] or not words[-1].startswith("/opt/inferstack"):
            continue
        target = root / Path(words[-1]).relative_to("/opt/inferstack")
        for source in words[1:-1]:
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                target.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / source, target)
    return root


def help_of(image: Path, module: str) -> str:
    command = [sys.executable, "-m", module, "--help"]
    result = subprocess.run(
        command, check=False, cwd=image, env={"PYTHONPATH": str(image)}, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize(
    ("module", "deprecated"),
    [
        ("inferstack.controllers", "inferstack.operator"),
        ("inferstack.controllers.scaling", "inferstack.operator.scaling"),
    ],
)
def test_the_image_has_the_command_of_this_and_of_the_last_release(image: Path, module: str, deprecated: str) -> None:
    text = help_of(image, module)
    assert "--health-port" in text
    assert help_of(image, deprecated) == text
