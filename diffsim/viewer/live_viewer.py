"""The page that a browser shows while this process runs."""

from __future__ import annotations

import threading
import time as clock
from collections.abc import Sequence

from diffsim.errors import InputError
from diffsim.viewer.return_chart import ReturnChart
from diffsim.viewer.stage import ARROW_TEXTS, Stage
from diffsim.viewer.tracks import Resimulation, Track
from diffsim.viewer.viser_server import LOOPBACK, closed_server, opened_server

POINTS = 20_000  # particles of a body that are drawn
TICK = 1.0 / 30.0  # s between two looks at what the page wants
SETTLED = 0.5  # s without a change after which parameters are taken over
HELD = 0.7  # s that the end stays before the play begins anew
SPEEDS = (2.0, 1.0, 0.5, 0.25, 0.125, 0.0625)
PLAYED_SECONDS = 3.0  # the speed at first is the largest at which playing takes so long


class LiveViewer:
    """Trajectories side by side on a page: time, arrows, returns, parameters.

    Callbacks of the page only leave notes; all work is done by `run` in the thread that calls it, since kernels may be launched
    by one thread only.

    Args:
        tracks: one at least.
        host, port: where to listen; 127.0.0.1 can be reached from this machine only. The next free port if that one is taken.
        resimulation: what the page's parameters do; without it, it has none.

    Raises:
        InputError: there are no trajectories, viser is not installed, or it cannot listen there.
    """

    def __init__(
        self, tracks: Sequence[Track], *, host: str = LOOPBACK, port: int = 8080, resimulation: Resimulation | None = None
    ) -> None:
        if not tracks:
            raise InputError("tracks must hold at least one trajectory, got none")
        self._server = opened_server(host, port)
        self._host, self._resimulation = host, resimulation
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._stage = Stage(self._server, tracks, points=POINTS)
        self._chart = ReturnChart(tracks)
        self._shown, self._drawn_again = 0.0, False
        self._changed_at: float | None = None
        self._end_at = 0.0
        self._ticked = clock.monotonic()
        self._server.gui.configure_theme(control_width="medium", control_layout="fixed", show_share_button=False)
        self._add_time()
        self._returns = self._server.gui.add_html(self._chart.html(0.0), visible=bool(self._chart))
        self._add_switches()
        self._add_parameters()

    @property
    def url(self) -> str:
        """The page's address."""
        return f"http://{self._host}:{self._server.get_port()}"

    @property
    def time(self) -> float:
        """The time that is shown, s; can be set."""
        return self._shown

    @time.setter
    def time(self, value: float) -> None:
        self._time.value = min(max(0.0, float(value)), self._duration)

    def run(self) -> None:
        """Serve until `stop`, or an interrupt."""
        while not self._ended.wait(TICK):
            self.tick()

    def start(self) -> None:
        """Serve in a thread of its own; `wait` waits for its end. Re-simulation and forces need `run`."""
        self._thread = threading.Thread(target=self.run, daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Serve until `stop`, or an interrupt, which ends it."""
        try:
            if self._thread is None:
                self.run()
            while self._thread is not None and self._thread.is_alive():
                self._thread.join(0.2)
        except KeyboardInterrupt:
            self.stop()

    def stop(self) -> None:
        """End the page."""
        if self._ended.is_set():
            return
        self._ended.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(5.0)
        closed_server(self._server)

    def tick(self) -> None:
        """Do what the page asked for since the last call, and play on."""
        now = clock.monotonic()
        passed, self._ticked = now - self._ticked, now
        if self._changed_at is not None and now - self._changed_at > SETTLED:
            self._changed_at = None
            self._resimulate()
        wanted = {kind for kind, box in self._arrow_boxes.items() if box.value}
        if wanted != self._kinds:
            self._show_arrows(wanted)
        if self._playing.value and self._server.get_clients():
            following = self._time.value + passed * float(self._speed.value.rstrip("x"))
            if self._time.value >= self._duration:
                following = 0.0 if now - self._end_at > HELD else self._duration
            elif following >= self._duration:
                following, self._end_at = self._duration, now
            self._time.value = following
        if self._time.value != self._shown or self._drawn_again:
            self._drawn_again, self._shown = False, self._time.value
            self._stage.show(self._shown)
            if self._chart:
                self._returns.content = self._chart.html(self._shown)

    @property
    def _duration(self) -> float:
        return self._chart.duration

    def _add_time(self) -> None:
        gui, duration = self._server.gui, self._duration
        count = max(len(track.states) for track in self._stage.tracks) - 1
        step = max(duration, 1e-3) / max(4 * count, 1)  # four pictures a control step, as in videos
        self._time = gui.add_slider("time, s", 0.0, max(duration, step), step, 0.0)
        self._playing = gui.add_checkbox("play", False)
        speeds = [f"{speed:g}x" for speed in SPEEDS]
        slow = [text for text, speed in zip(speeds, SPEEDS, strict=True) if speed <= 1.0 and duration / speed >= PLAYED_SECONDS]
        self._speed = gui.add_dropdown("speed", speeds, initial_value=slow[0] if slow else speeds[-1])

    def _add_switches(self) -> None:
        gui, tracks = self._server.gui, self._stage.tracks
        self._arrow_boxes = {}
        self._kinds: set[str] = set()
        for kind, text in ARROW_TEXTS.items():
            if all(getattr(track, kind) is not None for track in tracks):
                self._arrow_boxes[kind] = gui.add_checkbox(text, False)
        self._legend = gui.add_html("", visible=bool(self._arrow_boxes))
        if len(tracks) > 1:
            with gui.add_folder("solutions"):
                for number, track in enumerate(tracks):
                    box = gui.add_checkbox(track.title or f"{number + 1}", True)
                    box.on_update(lambda event, number=number: self._show_track(number, event.target.value))

    def _add_parameters(self) -> None:
        gui, again = self._server.gui, self._resimulation
        self._status = gui.add_markdown("", visible=False)
        self._sliders = {}
        if again is None:
            return
        with gui.add_folder("parameters of the task", expand_by_default=False):
            for each in again.parameters:
                slider = gui.add_slider(each.name, each.low, each.high, each.step, each.value, hint=each.text or None)
                slider.on_update(lambda _: self._note_change())
                self._sliders[each.name] = slider
            reset = gui.add_button("as in the run")
            reset.on_click(lambda _: self._reset_parameters())

    def _note_change(self) -> None:
        self._changed_at = clock.monotonic()

    def _reset_parameters(self) -> None:
        assert self._resimulation is not None
        for each in self._resimulation.parameters:
            self._sliders[each.name].value = each.value

    def _show_track(self, number: int, visible: bool) -> None:
        self._stage.show_track(number, visible)
        self._drawn_again = True

    def _show_arrows(self, kinds: set[str]) -> None:
        with self._said("computing arrows ..."):
            self._stage.show_arrows(kinds)
        self._kinds, self._drawn_again = kinds, True
        self._legend.content = self._stage.legend()

    def _resimulate(self) -> None:
        assert self._resimulation is not None
        values = {name: slider.value for name, slider in self._sliders.items()}
        with self._said("simulating ..."):
            tracks = self._resimulation.tracks(values)
            self._stage.replace(tracks)
            self._chart = ReturnChart(tracks)
            self._time.max = max(self._duration, self._time.step)
            self._time.value = min(self._time.value, self._duration)
        self._drawn_again = True

    def _said(self, text: str) -> _Said:
        return _Said(self._status, text)


class _Said:
    """Says on the page what is being done, and what went wrong with it."""

    def __init__(self, status, text: str) -> None:  # type: ignore[no-untyped-def]
        self._status, self._text = status, text

    def __enter__(self) -> None:
        self._status.content, self._status.visible = self._text, True

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        failed = isinstance(error, ValueError | FloatingPointError)
        self._status.content, self._status.visible = f"**failed:** {error}" if failed else "", failed
        return failed
