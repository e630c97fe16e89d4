"""The leaderboard: one CSV line per scored run, appended safely by several processes, ranked protocol by protocol."""

from __future__ import annotations

import csv
import io
import math
import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from h36m_toolbox.errors import H36MError
from h36m_toolbox.files import written_whole

# Appending takes milliseconds: a lock in the same hands for this long was left by a process that died.
STALE_AFTER_S = 10.0


@dataclass(frozen=True)
class LeaderboardRow:
    """One run under one protocol. Errors are mm (mpjve: mm per step), pck150 and auc percent; NaN where not defined."""

    run: str
    date: str  # ISO 8601
    model: str
    options: str
    weights_sha256: str
    parameters: int
    detections: str
    detections_sha256: str
    split: str
    protocol: str
    protocol_version: int
    mpjpe_mm: float
    p_mpjpe_mm: float
    n_mpjpe_mm: float
    mpjve_mm: float
    pck150: float
    auc: float
    mean: str  # "action" or "frame"
    frames: int
    incomplete: bool
    data_fingerprint: str
    h36m_version: str
    device: str
    poses_per_s: float
    predictions_sha256: str


COLUMNS = tuple(field.name for field in fields(LeaderboardRow))
_TYPES: dict[str, str] = {field.name: str(field.type) for field in fields(LeaderboardRow)}
_MEANS = ("action", "frame")


def append_row(path: Path, row: LeaderboardRow, stale_after_s: float = STALE_AFTER_S) -> None:
    """Add a row to the CSV file, which is made if missing; safe while other processes append.

    The file is written anew beside the old one and renamed, under a lock file `.<name>.lock`; a lock that does not
    change hands for `stale_after_s` seconds is taken over. Raises H36MError if the file is no leaderboard or the row
    has NaN as `mpjpe_mm`.
    """
    _check_value(row)
    path.parent.mkdir(parents=True, exist_ok=True)
    while not _appended(path, row, stale_after_s):
        pass


def read_leaderboard(path: Path) -> list[LeaderboardRow]:
    """The rows of a leaderboard, in the order they were added; an H36MError names the line and column that is wrong."""
    try:
        text = path.read_bytes().decode("utf-8")
    except FileNotFoundError as error:
        raise H36MError(f"{path}: no such file; `h36m bench` writes the leaderboard") from error
    except UnicodeDecodeError as error:
        raise H36MError(f"{path}: no UTF-8 text ({error}); restore it from a copy") from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        _check_header(next(reader, []), path)
        return [_parsed(cells, f"{path}, line {reader.line_num}") for cells in reader]
    except csv.Error as error:
        raise H36MError(f"{path}, line {reader.line_num}: no readable CSV ({error})") from error


def ranked_table(rows: list[LeaderboardRow], protocol: str | None = None) -> str:
    """Markdown, one table per protocol, version, mean and split, sorted by MPJPE.

    Figures of different protocols are never ranked together; incomplete runs stand below the ranked ones without a
    place. Raises H36MError for a `protocol` that no row has.
    """
    if protocol is not None:
        present = list(dict.fromkeys(row.protocol for row in rows))
        if protocol not in present:
            raise H36MError(f"no run was scored under {protocol!r}; there are {', '.join(present) or 'no runs at all'}")
        rows = [row for row in rows if row.protocol == protocol]
    if not rows:
        return "No runs yet.\n"
    groups: dict[tuple[str, int, str, str], list[LeaderboardRow]] = {}
    for row in sorted(rows, key=lambda row: (row.protocol, row.protocol_version, row.mean, row.split)):
        groups.setdefault((row.protocol, row.protocol_version, row.mean, row.split), []).append(row)
    return "\n".join(_group_table(*group, members) for group, members in groups.items())


def _group_table(protocol: str, version: int, mean: str, split: str, rows: list[LeaderboardRow]) -> str:
    figure_titles = ("MPJPE", "P-MPJPE", "N-MPJPE", "MPJVE", "PCK@150", "AUC")
    titles = ("", "model", "options", "detections", *figure_titles, "frames", "run")
    lines = [
        f"## {protocol}, version {version}, {mean} mean, {split}",
        "",
        f"| {' | '.join(titles)} |",
        "| ---: | --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for place, row in enumerate(sorted(rows, key=lambda row: (row.incomplete, row.mpjpe_mm)), start=1):
        figures = (row.mpjpe_mm, row.p_mpjpe_mm, row.n_mpjpe_mm, row.mpjve_mm, row.pck150, row.auc)
        cells = (
            "incomplete" if row.incomplete else str(place),
            *(row.model, row.options, row.detections),
            *("-" if math.isnan(figure) else f"{figure:.2f}" for figure in figures),
            *(str(row.frames), row.run),
        )
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(lines) + "\n"


def _as_csv(rows: list[LeaderboardRow]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        values = (getattr(row, column) for column in COLUMNS)
        writer.writerow([str(value).lower() if isinstance(value, bool) else value for value in values])
    return text.getvalue()


def _check_header(header: list[str], path: Path) -> None:
    missing = [column for column in COLUMNS if column not in header]
    unknown = [column for column in header if column not in COLUMNS]
    if missing or unknown or len(header) != len(COLUMNS):
        raise H36MError(
            f"{path}, line 1: no leaderboard of this version; columns missing: {', '.join(missing) or 'none'}, "
            f"unknown: {', '.join(unknown) or 'none'}; move the file away to start a new one"
        )
    if tuple(header) != COLUMNS:
        moved = next(column for column, expected in zip(header, COLUMNS, strict=True) if column != expected)
        raise H36MError(f"{path}, line 1, column {moved}: out of order; expected {', '.join(COLUMNS)}")


def _parsed(cells: list[str], place: str) -> LeaderboardRow:
    if len(cells) != len(COLUMNS):
        last = COLUMNS[min(len(cells), len(COLUMNS)) - 1]
        raise H36MError(f"{place}: {len(cells)} cells, up to column {last}; expected {len(COLUMNS)}")
    values = {column: _parsed_cell(cell, column, place) for column, cell in zip(COLUMNS, cells, strict=True)}
    row = LeaderboardRow(**values)
    _check_value(row, place)
    return row


def _parsed_cell(cell: str, column: str, place: str) -> Any:
    kind = _TYPES[column]
    try:
        if kind == "bool":
            return {"true": True, "false": False}[cell]
        return {"int": int, "float": float, "str": str}[kind](cell)
    except (KeyError, ValueError) as error:
        wanted = {"bool": "true or false", "int": "a whole number", "float": "a number"}[kind]
        raise H36MError(f"{place}, column {column}: found {cell!r}, expected {wanted}") from error


def _check_value(row: LeaderboardRow, place: str = "new leaderboard row") -> None:
    if not math.isfinite(row.mpjpe_mm):
        raise H36MError(f"{place}, column mpjpe_mm: found {row.mpjpe_mm}, expected a finite number to rank by")
    if row.mean not in _MEANS:
        raise H36MError(f"{place}, column mean: found {row.mean!r}, expected {' or '.join(_MEANS)}")


def _appended(path: Path, row: LeaderboardRow, stale_after_s: float) -> bool:
    """Append under the lock; False, with nothing written, if the lock was taken over meanwhile."""
    try:
        with _locked(path, stale_after_s) as still_ours, written_whole(path) as temporary:
            rows = read_leaderboard(path) if path.exists() else []
            temporary.write_text(_as_csv([*rows, row]), encoding="utf-8", newline="")
            if not still_ours():
                raise _LockLostError
    except _LockLostError:
        return False
    return True


class _LockLostError(Exception):
    """Another process took us for dead and took the lock over."""


@contextmanager
def _locked(path: Path, stale_after_s: float) -> Iterator[Callable[[], bool]]:
    """Hold `.<name>.lock`, made with O_EXCL, beside `path`; yields a function that says whether we still hold it.

    A stale lock is known by its content not changing while we watch, so clocks of several machines need not agree.
    """
    lock = path.with_name(f".{path.name}.lock")
    owner = f"{os.getpid()} {uuid.uuid4().hex}"
    seen, since = None, time.monotonic()
    while not _created(lock, owner):
        holder = _content(lock)
        if holder != seen:
            seen, since = holder, time.monotonic()
        elif holder is not None and time.monotonic() - since > stale_after_s:
            with suppress(FileNotFoundError):  # another waiter was quicker
                lock.unlink()
        time.sleep(0.005)
    try:
        yield lambda: _content(lock) == owner
    finally:
        if _content(lock) == owner:
            lock.unlink()


def _created(lock: Path, owner: str) -> bool:
    try:
        descriptor = os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "w") as file:
        file.write(owner)
    return True


def _content(lock: Path) -> str | None:
    try:
        return lock.read_text()
    except FileNotFoundError:
        return None
