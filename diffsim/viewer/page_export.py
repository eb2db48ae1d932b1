"""Trajectories as one page of HTML, which needs no server and no other file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diffsim.errors import InputError
from diffsim.viewer.return_chart import LEFT, RIGHT, ReturnChart
from diffsim.viewer.stage import Stage
from diffsim.viewer.tracks import Track
from diffsim.viewer.viser_server import closed_server, opened_server

LARGEST_PAGE = 10_000_000  # bytes
SHOWN_SECONDS = 4.0  # a page plays for this long at least; what is shorter is slowed down
MOST_SLOWDOWN = 32.0


@dataclass(frozen=True)
class _Level:
    """How much a page holds: pictures a second, and particles of a body."""

    pictures: int
    points: int


LEVELS = (_Level(20, 6000), _Level(12, 4000), _Level(8, 2500), _Level(5, 1500), _Level(3, 800))
SCRIPT = """
(function () {
  var info = %s, panel = document.getElementById("diffsim-returns");
  function follow() {
    var thumb = document.querySelector('[role="slider"]');
    if (thumb) {
      var time = Math.min(Number(thumb.getAttribute("aria-valuenow")) / info.slowdown, info.duration);
      var line = panel.querySelector("[data-now]");
      if (line) {
        var x = info.left + (info.right - info.left) * Math.min(1, info.duration ? time / info.duration : 0);
        line.setAttribute("x1", x); line.setAttribute("x2", x);
      }
      panel.querySelectorAll("[data-sum]").forEach(function (cell) {
        var n = Number(cell.getAttribute("data-sum")), sums = info.sums[n];
        var value = sums[Math.min(Math.floor(time / info.steps[n] + 1e-6), sums.length - 1)];
        cell.textContent = value === null ? "" : value.toFixed(2);
      });
      panel.querySelector("[data-time]").textContent = time.toFixed(2) + " s";
    }
  }
  setInterval(follow, 50);
})();
"""
PANEL = """<div id="diffsim-returns" style="position:fixed;bottom:62px;left:12px;width:270px;z-index:3;padding:8px;
background:#fff;border-radius:4px;box-shadow:0 1px 8px rgba(0,0,0,0.15);font:12px sans-serif;color:#222">%s
<div style="margin-top:4px"><span data-time>0.00 s</span> of %s%s%s</div></div><script>%s</script>"""


def write_page(
    tracks: Sequence[Track],
    path: Path,
    *,
    arrows: Sequence[str] = ("forces", "gradients"),
    largest: int = LARGEST_PAGE,
    say: Callable[[str], None] = print,
) -> None:
    """Write one page with trajectories side by side, their arrows and returns.

    If it would be too large, it gets fewer pictures a second and fewer particles, and ``say`` is told.

    Args:
        arrows: which of "forces" and "gradients" to show where trajectories have them.
        largest: size of the file, bytes.

    Raises:
        InputError: viser is not installed, or the page would be too large with the least that is worth showing.
    """
    for level in LEVELS:
        page = _page(tracks, arrows, level)
        if len(page) <= largest:
            break
    else:
        raise InputError(
            f"the page would have {len(page) / 1e6:.1f} MB with {level.pictures} pictures a second and {level.points} "
            f"particles of a body, allowed are {largest / 1e6:.1f} MB: show fewer solutions"
        )
    if level is not LEVELS[0]:
        say(
            f"note: to stay below {largest / 1e6:.1f} MB the page has {level.pictures} pictures a second in place of "
            f"{LEVELS[0].pictures}, and {level.points} particles of a body at most"
        )
    path.write_bytes(page)


def slowdown_of(duration: float) -> float:
    """By how much a page plays slower than the world: a power of 2."""
    slowdown = 1.0
    while duration * slowdown < SHOWN_SECONDS and slowdown < MOST_SLOWDOWN:
        slowdown *= 2.0
    return slowdown


def _page(tracks: Sequence[Track], arrows: Sequence[str], level: _Level) -> bytes:
    server = opened_server()
    try:
        stage = Stage(server, tracks, points=level.points)
        stage.show_arrows({kind for kind in arrows if all(getattr(track, kind) is not None for track in tracks)})
        duration = max(track.duration for track in tracks)
        slowdown = slowdown_of(duration)
        stage.show(0.0)  # the arrows, too
        recording = server.get_scene_serializer()
        before = 0.0
        for time in picture_times(tracks, level.pictures * slowdown):
            recording.insert_sleep(float((time - before) * slowdown))
            stage.show(time)
            before = time
        recording.insert_sleep(0.5)  # the end can be seen
        html = recording.as_html()
    finally:
        closed_server(server)
    head, tail = html[: html.rindex("</body>")], html[html.rindex("</body>") :]
    return (head + _panel(tracks, slowdown, stage.legend()) + tail).encode()


def picture_times(tracks: Sequence[Track], pictures: float) -> Iterator[float]:
    """Times, s, of so many pictures in a simulated second: all states and some between them, or some of the states; always the
    last one."""
    step, last = min(track.control_dt for track in tracks), max(track.duration for track in tracks)
    ratio = 1.0 / (pictures * step)  # steps between two pictures
    spacing = step * (np.ceil(ratio - 1e-6) if ratio > 1.0 else 1.0 / np.floor(1.0 / ratio + 1e-6))
    count = int(np.floor(last / spacing - 1e-6)) if last > 0.0 else -1
    yield from (spacing * number for number in range(count + 1))
    yield last


def _panel(tracks: Sequence[Track], slowdown: float, legend: str) -> str:
    chart = ReturnChart(tracks)
    info = {
        "slowdown": slowdown,
        "duration": chart.duration,
        "left": LEFT,
        "right": RIGHT,
        "steps": chart.control_dts,
        "sums": [[float(f"{value:.6g}") if np.isfinite(value) else None for value in curve] for curve in chart.curves],
    }
    slower = f", {slowdown:g} times slower" if slowdown > 1.0 else ""
    return PANEL % (
        chart.html(0.0) if chart else "", f"{chart.duration:.2f} s", slower, legend, SCRIPT % json.dumps(info)
    )  # fmt: skip
