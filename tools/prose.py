"""Check the wording of code and documentation against a word list; used by `make lint`.

Run: python tools/prose.py [PATH]...   (default: the paths in tools/prose.yaml)
Exits with status 1 if a phrase or a variable name of the list occurs.
"""

from __future__ import annotations

import ast
import functools
import io
import re
import sys
import tokenize
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

_LIST = Path(__file__).with_suffix(".yaml")
_PROSE = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}


class Issue(NamedTuple):
    """A word that the list refuses."""

    line: int
    word: str
    suggestion: str


def check_text(text: str, phrases: Mapping[str, str], first: int = 1) -> Iterator[Issue]:
    """Yield the phrases of the list in a text; a phrase may continue on the next line."""
    for phrase, suggestion in phrases.items():
        for match in _pattern(phrase).finditer(text):
            yield Issue(first + text.count("\n", 0, match.start()), phrase, suggestion)


@functools.cache
def _pattern(phrase: str) -> re.Pattern[str]:
    return re.compile(r"\b" + r"[\s#]+".join(map(re.escape, phrase.split())) + r"\b")


def check_python(source: str, words: Mapping[str, Mapping[str, str]]) -> Iterator[Issue]:
    """Yield the phrases in comments and strings, and the variable names of the list."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in _PROSE:
            yield from check_text(token.string, words["phrases"], token.start[0])
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            name, line = node.id, node.lineno
        elif isinstance(node, ast.arg):
            name, line = node.arg, node.lineno
        else:
            continue
        if name in words["variables"]:
            yield Issue(line, name, words["variables"][name])


def check_file(path: Path, words: Mapping[str, Any]) -> list[Issue]:
    """Return the issues of a Python or Markdown file in the order of its lines."""
    text = path.read_text()
    return sorted(check_python(text, words) if path.suffix == ".py" else check_text(text, words["phrases"]))


def files_below(paths: Sequence[Path]) -> Iterator[Path]:
    """Yield the Python and Markdown files at or below the paths.

    Raises:
        FileNotFoundError: a path does not exist.
    """
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(path)
        yield from [path] if path.is_file() else sorted(f for f in path.rglob("*") if f.suffix in (".py", ".md"))


def main(arguments: Sequence[str]) -> int:
    """Print the issues as FILE:LINE; return the exit status."""
    words = yaml.safe_load(_LIST.read_text())
    root = _LIST.parent.parent
    paths = [Path(argument) for argument in arguments] or [root / path for path in words["paths"]]
    issues = [(path, issue) for path in files_below(paths) for issue in check_file(path, words)]
    for path, issue in issues:
        sys.stdout.write(f'{path}:{issue.line}: "{issue.word}": write {issue.suggestion}\n')
    return 1 if issues else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
