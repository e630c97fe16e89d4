"""One writer at a time for each area of DATA: frames, a label format, detections, statistics, pelvis.

The lock is the operating system's, on a file below `DATA/.locks`, so a killed process loses it at once; beside it lies
a note of who holds it, for the message to the next.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timezone
from pathlib import Path

from filelock import FileLock, Timeout

from h36m_toolbox.errors import H36MError
from h36m_toolbox.storage.files import written_whole


@contextmanager
def writing(
    data: Path, *areas: str, wait: bool = False, waiting: Callable[[str], None] | None = None
) -> Iterator[None]:
    """Alone in writing these areas of DATA, such as "images" or "labels/parquet", for the time of the block.

    Where another process writes one of them: H36MError saying which and since when; with `wait` it is waited for, and
    `waiting` is told why. Several areas are taken in alphabetical order, so that nobody waits for each other.
    """
    is_new = not data.exists()
    is_empty = is_new or (data.is_dir() and not any(data.iterdir()))
    with ExitStack() as stack:
        for area in sorted(set(areas)):
            stack.enter_context(_held(data, area, wait, waiting))
        if is_empty:
            stack.callback(_remove_if_unused, data, is_new, {_place(data, area).name for area in areas})
        yield


def _remove_if_unused(data: Path, is_new: bool, held: set[str]) -> None:
    """A run that was refused for what it read leaves an empty DATA as it was; where others hold locks, these too."""
    locks = data / ".locks"
    if set(data.iterdir()) == {locks} and {path.stem for path in locks.iterdir()} <= held:
        shutil.rmtree(locks)
        if is_new:
            data.rmdir()


def _place(data: Path, area: str) -> Path:
    return data / ".locks" / area.replace("/", "-")


@contextmanager
def _held(data: Path, area: str, wait: bool, waiting: Callable[[str], None] | None) -> Iterator[None]:
    place = _place(data, area)
    note = place.with_suffix(".json")
    place.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(place.with_suffix(".lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        holder = f"{data / area}: {_holder(note)} is writing it"
        if not wait:
            raise H36MError(f"{holder}; let it end, or run this with --wait") from None
        if waiting:
            waiting(f"{holder}; waiting for it to end")
        lock.acquire()
    try:
        with written_whole(note) as path:
            since = datetime.now(timezone.utc).isoformat(sep=" ", timespec="seconds")
            path.write_text(json.dumps({"process": os.getpid(), "host": platform.node(), "since": since}))
        yield
    finally:
        note.unlink(missing_ok=True)
        lock.release()


def _holder(note: Path) -> str:
    try:
        known = json.loads(note.read_text())
        return f"process {known['process']} on {known['host']}, since {known['since']},"
    except (OSError, ValueError, KeyError, TypeError):  # it has only just begun, or is about to end
        return "another process"
