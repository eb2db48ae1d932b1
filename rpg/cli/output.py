"""What a sub-command prints: text for people, unless it shall be quiet, and one JSON object for programs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from rich.console import Console
from rich.table import Table

WIDTH_OF_FILES = 140
"""Columns of tables where the output is no terminal."""


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """What is printed."""

    quiet: bool = False
    """Print nothing but errors, and the JSON object if that is asked for."""
    json: bool = False
    """Print one JSON object with the results, on the last line."""


class Output:
    """The console of a sub-command; of several processes that train a run together, the first one's."""

    def __init__(self, options: OutputOptions) -> None:
        helps = os.environ.get("RANK", "0") != "0" and os.environ.get("WORLD_SIZE", "1") != "1"  # under torchrun
        self.options = replace(options, quiet=True, json=False) if helps else options
        self.console = Console(highlight=False, soft_wrap=True, quiet=self.options.quiet)
        if not self.console.is_terminal:
            self.console.width = WIDTH_OF_FILES

    def say(self, text: str) -> None:
        """A line."""
        self.console.print(text, markup=False)

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """What is being done: with a spinner on a terminal, else a line."""
        if self.console.is_terminal and not self.options.quiet:
            with self.console.status(f"{text} ..."):
                yield
        else:
            self.say(f"{text} ...")
            yield

    def table(self, headings: tuple[str, ...], rows: Sequence[tuple[str, ...]], title: str = "") -> None:
        """A table."""
        table = Table(title=title or None, title_justify="left")
        for heading in headings:
            table.add_column(heading, overflow="fold")
        for row in rows:
            table.add_row(*row)
        self.console.print(table)

    def finish(self, result: dict[str, Any]) -> None:
        """The JSON object, if it is asked for. Call it last."""
        if self.options.json:
            print(json.dumps(result), flush=True)
