"""``diffsim-rpg view``: the solutions of a run on an interactive page."""

from __future__ import annotations

import os
import sys
import webbrowser
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from rpg.cli.output import Output
from rpg.cli.stored_modes import StoredModesOptions, shown_modes
from rpg.cli.stored_run import built, opened
from rpg.settings_checks import SettingError

if TYPE_CHECKING:
    from rpg.runs.run import Run

DESCRIPTION = """Look at a run: its solutions side by side on a page in the browser, with time, contact forces, gradients and
the return; the task's parameters can be changed there, and the stored actions are simulated again.

Needs the package viser: pip install 'diffsim-rpg[viewer]'. The page is served until Ctrl-C."""


@dataclass(frozen=True)
class ViewOptions(StoredModesOptions):
    """The run and its page."""

    html: Path | None = None
    """Write one file of HTML, below 10 MB, that shows it without a server, in place of serving."""
    arrows: bool = True
    """Show forces and gradients in that file; to compute them may take longer than the rest."""
    host: str = "127.0.0.1"
    """Where to listen; the default can be reached from this machine only."""
    port: int = 8080
    """The port; the next free one if it is taken."""
    browser: bool = True
    """Open the page in the browser, where there is a display."""


def view(arguments: list[str]) -> Callable[[], int]:
    """Read the arguments; what is to be done then."""
    options = tyro.cli(ViewOptions, args=arguments, prog="diffsim-rpg view", description=DESCRIPTION)
    if not 0 <= options.port < 65536:
        raise SettingError(f"--port was given {options.port}; allowed are whole numbers from 0 to 65535")
    if options.html is not None and not options.html.parent.is_dir():
        raise SettingError(f"--html was given {options.html}; there is no folder {options.html.parent}")
    out = Output(options)
    return partial(_viewed, options, out, opened(options, out))


def _viewed(options: ViewOptions, out: Output, run: Run) -> int:
    from rpg.runs.viewers import serve_viewer, write_viewer_page

    environment = built(run, options, out)
    modes = shown_modes(options, out, run, environment)
    doing = f"replaying {len(modes)} solution{'s' * (len(modes) != 1)}"
    if options.html is not None:
        with out.step(doing):
            write_viewer_page(environment, modes, options.html, arrows=options.arrows, say=out.say)
        size = options.html.stat().st_size
        out.say(f"wrote {options.html}, {size / 1e6:.1f} MB")
        out.finish({"run": str(run.path), "html": str(options.html), "bytes": size})
        return 0
    out.say(f"{doing} ...")
    opened_at: list[str] = []

    def ready(url: str) -> None:
        opened_at.append(url)
        out.say(f"the page is at {url} (Ctrl-C ends it)")
        if options.browser and _has_display():
            webbrowser.open(url)

    try:
        serve_viewer(environment, modes, host=options.host, port=options.port, ready=ready)
    except KeyboardInterrupt:
        if not opened_at:
            raise
    out.finish({"run": str(run.path), "url": opened_at[-1] if opened_at else None})
    return 0


def _has_display() -> bool:
    """Whether a browser with a window can be opened; without one, a text browser could take the terminal."""
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
