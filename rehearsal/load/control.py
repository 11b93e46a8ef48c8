"""The control file of the simulator, ``load/run.json`` in the state folder: the scenario that runs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from rehearsal.load.scenario import Scenario


@dataclass(frozen=True)
class Run:
    """A running scenario."""

    scenario: Scenario
    seed: int
    began: float
    """Seconds since the epoch."""


def path_of(state: Path) -> Path:
    """Return the path of the control file."""
    return state / "load" / "run.json"


def read(state: Path) -> Run | None:
    """Return the running scenario, None if there is none."""
    try:
        content = json.loads(path_of(state).read_text())
    except FileNotFoundError:
        return None
    return Run(Scenario.model_validate(content["scenario"]), content["seed"], content["began"])


def write(state: Path, run: Run) -> None:
    """Start a scenario, replacing the running one."""
    path = path_of(state)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "scenario": run.scenario.model_dump(mode="json", by_alias=True),
        "seed": run.seed,
        "began": run.began,
    }
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content, indent=1) + "\n")
    partial.replace(path)


def remove(state: Path) -> bool:
    """Stop the running scenario; return whether there was one."""
    try:
        path_of(state).unlink()
    except FileNotFoundError:
        return False
    return True
