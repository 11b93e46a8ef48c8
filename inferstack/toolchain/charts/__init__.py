"""Helm charts as files: where a pinned chart is found or pulled, what is in it, what it makes."""

from inferstack.toolchain.charts import mirror
from inferstack.toolchain.charts.archive import Archive
from inferstack.toolchain.charts.images import images_of
from inferstack.toolchain.charts.pins import Pin, pins
from inferstack.toolchain.charts.render import render
from inferstack.toolchain.charts.source import find, mirror_folder, pull

__all__ = ["Archive", "Pin", "find", "images_of", "mirror", "mirror_folder", "pins", "pull", "render"]
