"""Files that are written whole or not at all: a crash, Ctrl-C or a full disk leaves the old one, and nothing beside it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """The name of a file to write, in the folder of `path`, which is made if it does not exist. The file becomes `path` at the
    end of the block, and is removed if the block fails.

    Raises OSError, which names `path`, if it cannot be written.
    """
    partial = path.with_name(path.name + ".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        os.replace(partial, path)
    except OSError as error:
        raise type(error)(error.errno, error.strerror or str(error), str(path)) from error
    except RuntimeError as error:  # torch.save wraps what the file raised
        cause = _os_error(error)
        if cause is None:
            raise
        raise OSError(cause.errno, cause.strerror, str(path)) from error
    finally:
        partial.unlink(missing_ok=True)


def _os_error(error: BaseException | None) -> OSError | None:
    """The OSError that an exception was raised from or while handling."""
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__ or error.__context__
    return error
