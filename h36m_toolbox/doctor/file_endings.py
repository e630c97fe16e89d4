"""Whether a produced file is whole, told from its beginning and end: a truncated one lacks what comes last."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import pyarrow as pa
import pyarrow.parquet as pq


def file_problem(path: Path) -> str:
    """What is wrong with a pickle, npy, npz, HDF5, Parquet or JSON file; "" for a whole one and for other kinds."""
    check = _CHECKS.get(path.suffix)
    if check is None:
        return ""
    try:
        check(path)
    except (OSError, ValueError, KeyError, RuntimeError, zipfile.BadZipFile, pa.ArrowException) as error:
        return f"{path}: truncated or damaged ({error})"
    return ""


def _check_pickle(path: Path) -> None:
    with path.open("rb") as file:
        start = file.read(1)
        file.seek(-1, 2)
        if start != b"\x80" or file.read(1) != b".":  # PROTO and STOP, what every pickle begins and ends with
            raise ValueError("it does not begin and end as a pickle does")


def _check_npy(path: Path) -> None:
    with path.open("rb") as file:
        if file.read(6) != b"\x93NUMPY":
            raise ValueError("it does not begin as a npy file does")
        version = file.read(2)[0]
        width = 2 if version == 1 else 4
        header = file.read(int.from_bytes(file.read(width), "little"))
        if b"'|O'" in header:  # a pickle follows
            file.seek(-1, 2)
            if file.read(1) != b".":
                raise ValueError("the objects in it end too early")


def _check_zip(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:  # reads the directory, which is at the end
        if not archive.namelist():
            raise ValueError("it is empty")


def _check_hdf5(path: Path) -> None:
    with h5py.File(path, "r") as file:  # compares the file's length with the one in its header
        list(file)


def _check_parquet(path: Path) -> None:
    pq.read_metadata(path)


def _check_json(path: Path) -> None:
    json.loads(path.read_text())


_CHECKS: dict[str, Callable[[Path], None]] = {
    ".pkl": _check_pickle,
    ".npy": _check_npy,
    ".npz": _check_zip,
    ".h5": _check_hdf5,
    ".parquet": _check_parquet,
    ".json": _check_json,
}
