"""An npz file written part by part: others load its arrays whole, we never hold them whole."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from h36m_toolbox.storage.files import written_whole

# Level 6 takes three times as long (Human3.6M labels of mmpose) for files 6 % smaller.
_COMPRESSION_LEVEL = 1


@dataclass(frozen=True, eq=False)  # an iterable is used up, not compared
class StreamedArray:
    """One array of the file: its `parts` follow each other along the first axis and fill `shape`."""

    name: str
    dtype: np.dtype
    shape: tuple[int, ...]
    parts: Iterable[np.ndarray]


def write_npz(path: Path, arrays: Iterable[StreamedArray]) -> None:
    """Write arrays as `numpy.savez_compressed` does, one after another and part by part, whole or not at all.

    The bytes depend on the values only. An array whose parts do not fill its shape raises ValueError.
    """
    with (
        written_whole(path) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=_COMPRESSION_LEVEL) as archive,
    ):
        for array in arrays:
            _write_member(archive, array)


def _write_member(archive: zipfile.ZipFile, array: StreamedArray) -> None:
    header = {"descr": np.lib.format.dtype_to_descr(array.dtype), "fortran_order": False, "shape": array.shape}
    rows = 0
    with archive.open(f"{array.name}.npy", "w", force_zip64=True) as member:
        np.lib.format.write_array_header_1_0(member, header)
        for part in array.parts:
            if part.dtype != array.dtype or part.shape[1:] != array.shape[1:]:
                raise ValueError(f"{array.name}: a part is {part.dtype} {part.shape}, the whole {array.shape}")
            member.write(part.tobytes())
            rows += len(part)
    if rows != array.shape[0]:
        raise ValueError(f"{array.name}: its parts have {rows} rows, the whole {array.shape}")
