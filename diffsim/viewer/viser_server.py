"""The server of the package viser, which is imported only when a page is opened or written."""

from __future__ import annotations

import io
import socket
from contextlib import redirect_stdout
from typing import TYPE_CHECKING

from diffsim.errors import InputError

if TYPE_CHECKING:
    import viser

LOOPBACK = "127.0.0.1"
MISSING = "the viewer needs the package viser, which is not installed: pip install 'diffsim-rpg[viewer]'"


def require_viser() -> None:
    """Raise InputError, with what to install, if the package is not there."""
    try:
        import viser  # noqa: F401
    except ImportError as error:
        raise InputError(MISSING) from error


def opened_server(host: str = LOOPBACK, port: int = 0) -> viser.ViserServer:
    """A server that listens; on any free port if that is 0, on the next free one if it is taken.

    Raises:
        InputError: viser is not installed, or it cannot listen there.
    """
    require_viser()
    import viser

    if isinstance(port, bool) or not isinstance(port, int) or not 0 <= port < 65536:
        raise InputError(f"port must be a whole number from 0 to 65535, got {port!r}")
    try:
        socket.create_server((host, 0)).close()  # viser would look for a free port for ever
    except OSError as error:
        raise InputError(f"cannot listen at {host}: {error.strerror or error}") from error
    with redirect_stdout(io.StringIO()):  # it prints a frame with its addresses
        return viser.ViserServer(host=host, port=port, label="diffsim", verbose=False)


def closed_server(server: viser.ViserServer) -> None:
    """End it, without a word."""
    with redirect_stdout(io.StringIO()):
        server.stop()
