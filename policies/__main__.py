"""Start the pack; the engine runs this folder."""

from __future__ import annotations

import sys
import types
from pathlib import Path

HERE = Path(__file__).resolve().parent

# Whoever runs a folder puts it on the path, where the names of its modules hide others.
sys.path[:] = [str(HERE.parent), *(place for place in sys.path if Path(place).resolve() != HERE)]

# Every preview waits for this start. Half of it would go to what these packages import and the pack does without: the
# command line of `cel`, with a toolkit for terminals, and the components of the roles, of which settings are read.
sys.modules["cel.cli"] = types.ModuleType("cel.cli")
for role in ("security", "tenancy"):
    bare = types.ModuleType(f"components.{role}")
    bare.__path__ = [str(HERE.parent / "components" / role)]
    sys.modules[bare.__name__] = bare

from policies.pack import serve  # noqa: E402  # see above

serve()
