"""Files that arrive whole or not at all, and what identifies their content."""

from __future__ import annotations

import glob
import hashlib
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` to write to; renamed to `path` on success, removed on failure.

    What a killed process of this machine left of the same file is removed too.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    start, end = f".{path.name}.{platform.node()}-", ".partial"
    for left in path.parent.glob(f"{glob.escape(start)}*{end}"):
        if not _is_alive(left.name[len(start) : -len(end)]):
            left.unlink(missing_ok=True)
    temporary = path.with_name(f"{start}{os.getpid()}{end}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _is_alive(process: str) -> bool:
    if os.name != "posix":  # elsewhere signal 0 is no question but a command
        return True
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:  # somebody else's, and alive
        return True
    return True


@contextmanager
def folder_written_whole(path: Path) -> Iterator[Path]:
    """A temporary folder beside `path` to fill; takes the place of `path` on success, is removed on failure.

    A folder left by a killed run has the same name, so it is cleared and filled again, never kept.
    """
    temporary = path.with_name(f".{path.name}.partial")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        if path.exists():
            shutil.rmtree(path)
        temporary.replace(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def sha256_of(path: Path) -> str:
    """Hex digest of a file's content, read in blocks."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
