"""Draw the output of a command as a terminal, in SVG: ``make up 2>&1 | python tools/screenshot.py FILE``."""

from __future__ import annotations

import io
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

# Rich's own template without its fonts, which the reader's browser would load from another site.
TEMPLATE = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: monospace; font-size: {char_height}px; line-height: {line_height}px; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def draw(output: str, title: str) -> str:
    """Return an SVG that shows the output of a command.

    Args:
        output: text, with colours as ANSI escapes.
        title: text of the title bar.
    """
    lines = [line.rstrip() for line in output.strip().splitlines()]
    console = Console(width=max(map(len, lines)) + 2, record=True, file=io.StringIO())
    for line in lines:
        console.print(Text.from_ansi(line), no_wrap=True)
    return console.export_svg(title=title, code_format=TEMPLATE, unique_id="terminal")


def main(arguments: list[str]) -> int:
    """Draw standard input into the file that is the first argument."""
    if len(arguments) != 1:
        sys.stderr.write("usage: COMMAND | python tools/screenshot.py FILE\n")
        return 2
    Path(arguments[0]).write_text(draw(sys.stdin.read(), "make up"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
