"""The error that a user can correct."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """An error that the user can correct; its message names the key or object at fault and the remedy.

    Entry points print it without a traceback and exit with ``exit_code``.
    """

    def __init__(self, message: str, *, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def hint(word: str, known: Iterable[str], *, prefix: str = "", otherwise: str = "there are") -> str:
    """Return the end of a sentence about an unknown name: the closest known name, or all of them.

    Args:
        word: the unknown name.
        known: the valid names.
        prefix: precedes the closest name.
        otherwise: precedes the list of all names if none is close.
    """
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1)
    return f"did you mean {prefix}{close[0]}?" if close else f"{otherwise} {', '.join(names) or 'none'}."
