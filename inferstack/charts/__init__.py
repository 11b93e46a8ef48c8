"""Helm charts as files: where a pinned chart is found or pulled, and what is in it."""

from inferstack.charts.archive import Archive
from inferstack.charts.pins import Pin, pins
from inferstack.charts.source import find

__all__ = ["Archive", "Pin", "find", "pins"]
