"""What the simulator is to do, as a file in the state folder: whoever may write there may say so."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from rehearsal.load.scenario import Scenario


@dataclass(frozen=True)
class Run:
    """A scenario that is being played."""

    scenario: Scenario
    seed: int
    began: float
    """Seconds since the epoch."""


def path_of(state: Path) -> Path:
    """Return where the file is."""
    return state / "load" / "run.json"


def read(state: Path) -> Run | None:
    """Return what is played; None where nothing is."""
    try:
        content = json.loads(path_of(state).read_text())
    except FileNotFoundError:
        return None
    return Run(Scenario.model_validate(content["scenario"]), content["seed"], content["began"])


def write(state: Path, run: Run) -> None:
    """Have a scenario played, instead of what is played now."""
    path = path_of(state)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "scenario": run.scenario.model_dump(mode="json", by_alias=True),
        "seed": run.seed,
        "began": run.began,
    }
    fresh = path.with_suffix(".partial")
    fresh.write_text(json.dumps(content, indent=1) + "\n")
    fresh.replace(path)


def remove(state: Path) -> bool:
    """Let all jobs be idle; return whether one had load."""
    try:
        path_of(state).unlink()
    except FileNotFoundError:
        return False
    return True
