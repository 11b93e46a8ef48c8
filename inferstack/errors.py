"""The error that a user can mend."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Something the user can put right: the message is one sentence with the key or object at fault and what to do.

    Entry points print it without a traceback and exit with ``exit_code``.
    """

    def __init__(self, message: str, *, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def hint(word: str, known: Iterable[str], *, prefix: str = "", otherwise: str = "there are") -> str:
    """Return the end of a sentence about an unknown name: the one that was meant, or which there are.

    Args:
        word: what was written.
        known: what would do.
        prefix: goes before the name that was meant.
        otherwise: goes before the list of all, where none is close.
    """
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1)
    return f"did you mean {prefix}{close[0]}?" if close else f"{otherwise} {', '.join(names) or 'none'}."
