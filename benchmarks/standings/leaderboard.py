"""The leaderboard file: one CSV line per scored run with its provenance, appended safely by several processes."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from h36m_toolbox.errors import H36MError
from h36m_toolbox.storage.files import written_whole

LEADERBOARD_NAME = "leaderboard.csv"
# Appending takes milliseconds, and the operating system takes the lock from a process that dies.
_PATIENCE_S = 60.0


@dataclass(frozen=True)
class LeaderboardRow:
    """One run under one protocol. Errors are mm (mpjve: mm per step), pck150 and auc percent; NaN where not defined.

    Columns with a default came later: a file without them is read, and gets them with the next row.
    """

    run: str  # its folder beside the file
    date: str  # ISO 8601
    model: str
    options: str
    weights_sha256: str
    parameters: int | None
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
    mean: str  # "action", "frame" or, of MPI-INF-3DHP, "sequence"
    frames: int
    incomplete: bool
    data_fingerprint: str
    h36m_version: str
    device: str
    poses_per_s: float
    predictions_sha256: str
    manifest_sha256: str = ""  # of the frames that were scored
    official: bool = False  # whether these are the protocol's frames of the real data set
    pa_mpjpe_rigid_mm: float = math.nan
    acceleration_mm: float = math.nan
    auc_trapezoid: float = math.nan
    bone_length_mm: float = math.nan
    symmetry_mm: float = math.nan
    mpjpe_median_mm: float = math.nan
    mpjpe_p90_mm: float = math.nan
    p_mpjpe_median_mm: float = math.nan
    p_mpjpe_p90_mm: float = math.nan
    mpjpe_without_damaged_mm: float = math.nan  # without the displaced S9 recordings, where the protocol has both


COLUMNS = tuple(field.name for field in fields(LeaderboardRow))
_TYPES: dict[str, str] = {field.name: str(field.type) for field in fields(LeaderboardRow)}
_LATER = {field.name for field in fields(LeaderboardRow) if field.default is not MISSING}
_MEANS = ("action", "frame", "sequence")


def append_row(path: Path, row: LeaderboardRow, once: bool = False) -> None:
    """Add a row to the CSV file, which is made if missing; safe while other processes append.

    The file is written anew beside the old one and renamed, under the operating system's lock on `.<name>.lock`. With
    `once` nothing is added where a row of the same run is there. Raises H36MError if the file is no leaderboard or the
    row has NaN as `mpjpe_mm`.
    """
    _check_value(row)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path):
        rows = read_leaderboard(path) if path.exists() else []
        if once and any(other.run == row.run for other in rows):
            return
        with written_whole(path) as temporary:
            temporary.write_text(rows_as_csv([*rows, row]), encoding="utf-8", newline="")


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
        header = next(reader, [])
        _check_header(header, path)
        return [_parsed(cells, header, f"{path}, line {reader.line_num}") for cells in reader]
    except csv.Error as error:
        raise H36MError(f"{path}, line {reader.line_num}: no readable CSV ({error})") from error


def rows_as_csv(rows: list[LeaderboardRow]) -> str:
    """The file's text: a header and a line for each row, every digit kept, empty cells for None and NaN."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow([_as_cell(getattr(row, column)) for column in COLUMNS])
    return text.getvalue()


def _as_cell(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None or (isinstance(value, float) and math.isnan(value)) else value


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        lock.acquire(timeout=_PATIENCE_S)
    except Timeout as error:
        raise H36MError(
            f"{path}: another process has been writing it for {_PATIENCE_S:.0f} s; let it end, then run "
            "`h36m bench` again with --resume, which adds the row of the finished run"
        ) from error
    try:
        yield
    finally:
        lock.release()


def _check_header(header: list[str], path: Path) -> None:
    missing = [column for column in COLUMNS if column not in header and column not in _LATER]
    unknown = [column for column in header if column not in COLUMNS]
    if missing or unknown:
        raise H36MError(
            f"{path}, line 1: no leaderboard of this version; columns missing: {', '.join(missing) or 'none'}, "
            f"unknown: {', '.join(unknown) or 'none'}; a newer h36m may read it, or move the file away to start anew"
        )
    twice = [column for column in COLUMNS if header.count(column) > 1]
    if twice:
        raise H36MError(f"{path}, line 1: column {', '.join(twice)} is there twice; restore the file from a copy")


def _parsed(cells: list[str], header: list[str], place: str) -> LeaderboardRow:
    if len(cells) != len(header):
        last = header[min(len(cells), len(header)) - 1]
        raise H36MError(f"{place}: {len(cells)} cells, up to column {last}; expected {len(header)}")
    values = {column: _parsed_cell(cell, column, place) for column, cell in zip(header, cells, strict=True)}
    row = LeaderboardRow(**values)
    _check_value(row, place)
    return row


def _parsed_cell(cell: str, column: str, place: str) -> Any:
    kind = _TYPES[column]
    try:
        if kind == "bool":
            return {"true": True, "false": False}[cell]
        if kind == "int | None":
            return int(cell) if cell else None
        if kind == "float":
            return float(cell) if cell else math.nan
        return {"int": int, "str": str}[kind](cell)
    except (KeyError, ValueError) as error:
        wanted = {"bool": "true or false", "float": "a number"}.get(kind, "a whole number")
        raise H36MError(f"{place}, column {column}: found {cell!r}, expected {wanted}") from error


def _check_value(row: LeaderboardRow, place: str = "new leaderboard row") -> None:
    if not math.isfinite(row.mpjpe_mm):
        raise H36MError(f"{place}, column mpjpe_mm: found {row.mpjpe_mm}, expected a finite number to rank by")
    if row.mean not in _MEANS:
        raise H36MError(f"{place}, column mean: found {row.mean!r}, expected {' or '.join(_MEANS)}")
