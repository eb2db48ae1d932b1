"""The return over time as a drawing (SVG) with the current time marked, and as numbers."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from diffsim.viewer.tracks import Track

CURVE_COLORS = ("#2f6bd6", "#d9822b", "#2b9e7a", "#8e5bd0", "#c0392b", "#5b6b7a")
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 300.0, 130.0, 8.0, 292.0, 18.0, 112.0  # of the drawing, and of the axes in it


class ReturnChart:
    """Sum of the rewards so far, of some trajectories; empty where they have none."""

    def __init__(self, tracks: Sequence[Track]) -> None:
        self.duration = max((track.duration for track in tracks), default=0.0)
        self.titles = [track.title for track in tracks]
        self.control_dts = [track.control_dt for track in tracks]
        self.curves = [_sums(track) for track in tracks]
        values = np.concatenate([np.zeros(1), *self.curves])
        values = values[np.isfinite(values)]
        self._low, self._high = float(values.min()), float(values.max())

    def __bool__(self) -> bool:
        return any(len(curve) > 1 for curve in self.curves)

    def marker(self, time: float) -> float:
        """Where the line of a time, s, stands in the drawing."""
        return LEFT + (RIGHT - LEFT) * min(1.0, time / self.duration if self.duration else 0.0)

    def so_far(self, number: int, time: float) -> float:
        """Return of a trajectory up to a time, s."""
        curve = self.curves[number]
        step = int(time / self.control_dts[number] + 1e-6)
        return float(curve[min(step, len(curve) - 1)])

    def html(self, time: float) -> str:
        """The drawing and the numbers at a time, s."""
        lines = [
            f'<svg viewBox="0 0 {WIDTH:g} {HEIGHT:g}" style="width:100%;display:block;background:#fff">',
            f'<rect x="{LEFT}" y="{TOP}" width="{RIGHT - LEFT}" height="{BOTTOM - TOP}" fill="#f4f5f7"/>',
            _text(LEFT, TOP - 5, f"return, up to {self._high:.4g}"),
            _text(LEFT, BOTTOM + 13, f"from {self._low:.4g}"),
            _text(RIGHT, BOTTOM + 13, f"{self.duration:.3g} s", "end"),
        ]
        if self._low < 0.0 < self._high:
            zero = self._height(0.0)
            lines.append(f'<line x1="{LEFT}" x2="{RIGHT}" y1="{zero:.1f}" y2="{zero:.1f}" stroke="#c4c8cf" stroke-width="1"/>')
        for number, curve in enumerate(self.curves):
            times = self.control_dts[number] * np.arange(len(curve))
            points = " ".join(
                f"{self.marker(t):.1f},{self._height(v):.1f}" for t, v in zip(times, curve, strict=True) if np.isfinite(v)
            )
            lines.append(f'<polyline points="{points}" fill="none" stroke="{_color(number)}" stroke-width="2"/>')
        at = self.marker(time)
        lines.append(
            f'<line data-now x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{BOTTOM}" stroke="#111" stroke-width="1.5"/></svg>'
        )
        lines.append('<table style="width:100%;font:12px sans-serif;border-spacing:0;color:#222;background:#fff">')
        for number, title in enumerate(self.titles):
            lines.append(
                f'<tr><td style="color:{_color(number)}">&#9632;</td><td>{escape(title)}</td>'
                f'<td data-sum="{number}" style="text-align:right">{self.so_far(number, time):.2f}</td>'
                f'<td style="text-align:right;color:#888">of {float(self.curves[number][-1]):.2f}</td></tr>'
            )
        return "".join([*lines, "</table>"])

    def _height(self, value: float) -> float:
        return BOTTOM - (BOTTOM - TOP) * (value - self._low) / ((self._high - self._low) or 1.0)


def _sums(track: Track) -> np.ndarray:
    rewards = np.zeros(0) if track.rewards is None else np.asarray(track.rewards, dtype=float)
    return np.concatenate([np.zeros(1), np.cumsum(rewards)])


def _color(number: int) -> str:
    return CURVE_COLORS[number % len(CURVE_COLORS)]


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" font-size="10" font-family="sans-serif" fill="#555">{text}</text>'
