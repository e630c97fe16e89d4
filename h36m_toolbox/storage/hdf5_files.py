"""HDF5 files that arrive whole: made in memory, because the HDF5 library crashes where the disk is full."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from h36m_toolbox.storage.files import written_whole


@contextmanager
def hdf5_written_whole(path: Path) -> Iterator[h5py.File]:
    """An HDF5 file to fill; it is at `path` after success and nowhere after failure. For files that fit in memory."""
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        yield file
    with written_whole(path) as temporary:
        temporary.write_bytes(content.getbuffer())
