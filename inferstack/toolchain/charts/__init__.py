"""Helm charts: where pinned charts are found or pulled, what they contain, and what they render to.

The package starts helm and crane, and reads and writes mirror folders and the chart cache.
"""

from inferstack.toolchain.charts import mirror
from inferstack.toolchain.charts.archive import Archive
from inferstack.toolchain.charts.render import images_of, render
from inferstack.toolchain.charts.source import Pin, find, mirror_folder, pins, pull

__all__ = ["Archive", "Pin", "find", "images_of", "mirror", "mirror_folder", "pins", "pull", "render"]
