"""Output of results to standard output, or to a file that is replaced atomically."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from .. import stderr

_FILE_MODE = 0o644
_NOT_REGULAR = "it is no regular file; leave out --output to write to standard output"


def write_stdout(content: bytes) -> None:
    """Write bytes; if the reader closes the pipe early, this is no error."""
    stderr.finish()  # the progress line is erased first, on a shared terminal
    try:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
    except OSError as error:
        # At exit, Python would flush the rest and fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            raise


def check_writable(file: Path) -> None:
    """Raise OSError if ``replace_file`` would fail; called before any work."""
    with suppress(FileNotFoundError):
        if not stat.S_ISREG(file.stat().st_mode):
            raise OSError(_NOT_REGULAR)
    if Path("/dev") in file.absolute().parents:
        raise OSError(_NOT_REGULAR)
    descriptor, path = _temporary_file(file)
    os.close(descriptor)
    path.unlink()


def replace_file(content: bytes, file: Path) -> None:
    """Replace a file atomically, readable by all users.

    On OSError, which is raised, the old file stays. The temporary file's name begins
    with a dot and ends in ``.tmp``, so that collectors do not read it.
    """
    descriptor, path = _temporary_file(file)
    try:
        with open(descriptor, "wb") as stream:  # noqa: PTH123  # a descriptor, no path
            stream.write(content)
            stream.flush()
            os.fchmod(descriptor, _FILE_MODE)
            os.fsync(descriptor)
        path.replace(file.resolve())
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _temporary_file(file: Path) -> tuple[int, Path]:
    target = file.resolve()
    try:
        descriptor, name = tempfile.mkstemp(".tmp", f".{target.name}.", target.parent)
    except OSError as error:
        raise OSError(f"its directory {target.parent}: {error.strerror}") from error
    return descriptor, Path(name)
