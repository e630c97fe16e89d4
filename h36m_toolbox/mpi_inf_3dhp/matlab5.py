"""MATLAB files of versions 5 to 7, read with every failure told as an H36MError."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from h36m_toolbox.errors import H36MError

_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_USER_BLOCK = 512  # what MATLAB 7.3 puts before the HDF5 content


def is_matlab73(path: Path) -> bool:
    """Whether a file is HDF5, as MATLAB 7.3 writes it."""
    with path.open("rb") as file:
        start = file.read(_USER_BLOCK + len(_HDF5_SIGNATURE))
    return start.startswith(_HDF5_SIGNATURE) or start[_USER_BLOCK:] == _HDF5_SIGNATURE


def read_matlab5(path: Path, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Those of the variables `names` that a MATLAB 5 file has. H36MError for a file that is damaged or none."""
    if is_matlab73(path):
        raise H36MError(f"{path}: is MATLAB 7.3, expected version 5; get the file again")
    from scipy.io import loadmat  # a quarter of a second, which only who reads such a file should wait

    try:
        content = loadmat(path, variable_names=list(names))
    except Exception as error:  # on damage scipy's reader raises almost anything
        raise H36MError(f"{path}: cannot be read as MATLAB 5 ({error}); get the file again") from error
    return {name: content[name] for name in names if isinstance(content.get(name), np.ndarray)}
