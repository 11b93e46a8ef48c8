"""Helm charts as files: where a pinned chart is found or pulled, what is in it, what it makes."""

from inferstack.charts import mirror
from inferstack.charts.archive import Archive
from inferstack.charts.images import images_of
from inferstack.charts.pins import Pin, pins
from inferstack.charts.render import render
from inferstack.charts.source import find, mirror_folder, pull

__all__ = ["Archive", "Pin", "find", "images_of", "mirror", "mirror_folder", "pins", "pull", "render"]
