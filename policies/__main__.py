"""Start the pack; the engine runs this folder."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent

# Whoever runs a folder puts it on the path, where the names of its modules hide others.
sys.path[:] = [str(HERE.parent), *(place for place in sys.path if Path(place).resolve() != HERE)]

import policies.ahead  # noqa: E402, F401  # before the pack, see there
from policies.pack import serve  # noqa: E402  # see above

serve()
