"""What the pack can have done before the engine asks for it.

A language host that can do so runs this while the engine is busy with its own start; otherwise the pack does, first.
"""

from __future__ import annotations

import sys
import types

# The package `cel` imports its own command line, and with it a toolkit for terminals: half of the time of a start.
sys.modules["cel.cli"] = types.ModuleType("cel.cli")

import policies.pack  # noqa: E402, F401  # see above
from inferstack.policy.registry import rules  # noqa: E402

rules()
