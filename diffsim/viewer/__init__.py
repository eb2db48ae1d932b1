"""Trajectories in a browser: an interactive page, or one file that holds it all (package viser, extra ``viewer``)."""

from diffsim.viewer.arrows import Arrows
from diffsim.viewer.live_viewer import LiveViewer
from diffsim.viewer.page_export import write_page
from diffsim.viewer.tracks import NumberParameter, Resimulation, Track

__all__ = ["Arrows", "LiveViewer", "NumberParameter", "Resimulation", "Track", "write_page"]
