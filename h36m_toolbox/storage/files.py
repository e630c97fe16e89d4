"""Files that arrive whole or not at all, and what identifies their content."""

from __future__ import annotations

import errno
import glob
import hashlib
import os
import platform
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_NO_ROOM = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
_DAY = 24 * 3600


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` to write to; renamed to `path` on success, removed on failure.

    Nobody else writes to the same temporary path. What a killed process left of the same file is removed too. Raises
    OSError naming `path` where the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_left_over(path)
    temporary = _partial(path)
    try:
        with _full_disk_named(path):
            yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def folder_written_whole(path: Path) -> Iterator[Path]:
    """A temporary folder beside `path` to fill; takes the place of `path` on success, is removed on failure.

    As `written_whole`; a folder that was there is moved aside first, so `path` never holds a part of either.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_left_over(path)
    temporary, old = _partial(path), _partial(path)
    temporary.mkdir()
    try:
        with _full_disk_named(path):
            yield temporary
        if path.exists():
            path.replace(old)
        temporary.replace(path)
    finally:
        for folder in (temporary, old):
            shutil.rmtree(folder, ignore_errors=True)


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.{platform.node()}-{os.getpid()}-{secrets.token_hex(4)}.partial")


def _remove_left_over(path: Path) -> None:
    start, end = f".{path.name}.", ".partial"
    for left in path.parent.glob(f"{glob.escape(start)}*{end}*"):
        writer = left.name[len(start) :].partition(end)[0]
        if not _may_be_written(left, writer):
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)


def _may_be_written(left: Path, writer: str) -> bool:
    """Whether the writer, node-pid-number, may be alive; one on another machine is given up after a silent day."""
    node, _, process = writer.rpartition("-")[0].rpartition("-")
    if node == platform.node():
        return _is_alive(process)
    try:
        return time.time() - left.stat().st_mtime < _DAY
    except FileNotFoundError:
        return False


def _is_alive(process: str) -> bool:
    if os.name != "posix":  # elsewhere signal 0 is no question but a command
        return True
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:  # somebody else's, and alive
        return True
    return not _is_zombie(process)


def _is_zombie(process: str) -> bool:
    """Whether it is dead and only waits for its parent to notice, as Linux tells."""
    try:
        state = Path("/proc", process, "stat").read_text().rpartition(")")[2]
    except OSError:
        return False
    return state.split()[:1] == ["Z"]


@contextmanager
def _full_disk_named(path: Path) -> Iterator[None]:
    """Writers report a full disk in their own ways, most of them without the file."""
    try:
        yield
    except OSError as error:
        short_write = error.errno is None and str(error).endswith(" written")  # numpy's, without a reason
        if error.errno not in _NO_ROOM and not short_write:
            raise
        reason = os.strerror(error.errno or errno.ENOSPC)
        advice = "what was finished is kept: make room and run the same command again"
        raise OSError(error.errno or errno.ENOSPC, f"{reason}; {advice}", str(path)) from error


def sha256_of(path: Path) -> str:
    """Hex digest of a file's content, read in blocks."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
