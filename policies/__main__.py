"""Start the pack: Pulumi runs this folder."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent

# `python FOLDER` puts the folder on the path, where its module names would hide others.
sys.path[:] = [str(HERE.parent), *(entry for entry in sys.path if Path(entry).resolve() != HERE)]

from policies.analyzer import serve  # noqa: E402  # after the path is set

serve()
