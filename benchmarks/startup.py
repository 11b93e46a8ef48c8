"""CPU time of commands that a user waits for, against the same kind of command of named peers.

Run: python -m benchmarks.startup
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence

from inferstack.toolchain import binaries

RUNS = 7
_START = "import sys; from inferstack.cli import main; sys.argv[0] = 'inferstack'; main()"
_BARE = "import typer\napp = typer.Typer(rich_markup_mode=None)\n@app.command()\ndef run(): 'Run.'\napp()"
_ZSH = {"_INFERSTACK_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": "inferstack se"}
_COMPLETE = {"_INFERSTACK_COMPLETE": "complete_bash", "COMP_WORDS": "inferstack se", "COMP_CWORD": "1"}


def cpu_seconds(command: Sequence[str], environment: Mapping[str, str]) -> float:
    """Return the CPU time of a command, user and system, as the median of several runs."""
    samples = []
    for _ in range(RUNS + 1):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        # As for a user, compiled modules are kept: without, half of the time goes into compiling.
        compiled = {"PYTHONDONTWRITEBYTECODE": ""}
        subprocess.run(command, env={**os.environ, **compiled, **environment}, stdout=subprocess.DEVNULL, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        samples.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return statistics.median(samples[1:])  # the first run warms the file cache


def main() -> None:
    """Print a table of CPU seconds and of ratios to the bare typer application."""
    python = [sys.executable, "-c"]
    cases: dict[str, tuple[list[str], dict[str, str]]] = {
        "bare typer application --help": ([*python, _BARE, "--help"], {}),
        "inferstack --help": ([*python, _START, "--help"], {}),
        "inferstack completion (bash)": ([*python, _START], _COMPLETE),
        "inferstack completion (zsh)": ([*python, _START], _ZSH),
        "inferstack settings": ([*python, _START, "settings"], {}),
    }
    versions = {"helm": ["version"], "kubectl": ["version", "--client"], "pulumi": ["version"]}
    for name, arguments in versions.items():
        if path := binaries.locate(name):
            cases[" ".join([name, *arguments])] = ([str(path), *arguments], {})
    base = 0.0
    print(f"{'command':34}{'CPU s':>8}{'ratio':>8}")
    for title, (command, environment) in cases.items():
        seconds = cpu_seconds(command, environment)
        base = base or seconds
        print(f"{title:34}{seconds:8.2f}{seconds / base:8.1f}")


if __name__ == "__main__":
    main()
