from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from h36m_toolbox.raw.hdf5_chunks import ChunkReader

STORED: dict[str, dict[str, Any]] = {
    "as MATLAB's file": {"userblock_size": 512},
    "without a user block": {},
    "of HDF5's newest structures": {"userblock_size": 512, "libver": "latest"},
}
TILES: dict[str, dict[str, Any]] = {
    "one chunk": {"chunks": (100, 80), "compression": "gzip"},
    "few": {"chunks": (40, 30), "compression": "gzip", "dtype": "u1"},
    "more than a node of the tree": {"chunks": (8, 8), "compression": "gzip"},
    "other type": {"chunks": (40, 30), "compression": "gzip", "dtype": "f8"},
}


def written(path: Path, stored: dict[str, Any], count: int = 3) -> h5py.File:
    """A file with `count` matrices of each of TILES in turn, with attributes as MATLAB writes them, open to read."""
    with h5py.File(path, "w", **stored) as file:
        for number in range(count):
            for name, tiles in TILES.items():
                matrix = file.create_dataset(f"{name} {number}", data=np.eye(100, 80), **tiles)
                matrix.attrs["MATLAB_class"] = np.bytes_(b"logical")
                matrix.attrs["MATLAB_int_decode"] = np.int32(1)
    return h5py.File(path, "r")


@pytest.mark.parametrize("stored", STORED.values(), ids=STORED)
def test_chunks_are_those_that_hdf5_tells(tmp_path: Path, stored: dict[str, Any]) -> None:
    with written(tmp_path / "a.h5", stored) as file, ChunkReader.of(tmp_path / "a.h5", file) as reader:
        for name, matrix in file.items():
            found = reader.chunks(matrix.ref, h5py.h5o.get_info(matrix.id).addr)
            assert found is not None
            kind, chunks = found
            assert (kind.shape, kind.dtype, kind.chunk) == (matrix.shape, matrix.dtype, matrix.chunks), name
            assert chunks.corners == kind.corners
            for corner, place, size in zip(*chunks, strict=True):
                _, content = matrix.id.read_direct_chunk(corner)
                assert reader.content[place : place + size] == content


def test_hdf5_is_asked_once_a_kind_of_matrix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(ChunkReader, "_asked_chunks", _noting(ChunkReader._asked_chunks, asked))
    stored = STORED["as MATLAB's file"]
    with written(tmp_path / "a.h5", stored, 5) as file, ChunkReader.of(tmp_path / "a.h5", file) as reader:
        for matrix in file.values():
            assert reader.chunks(matrix.ref, h5py.h5o.get_info(matrix.id).addr)
    assert len(asked) == len(TILES)


def _noting(function: Any, asked: list[object]) -> Any:
    def noted(*arguments: object) -> object:
        asked.append(arguments)
        return function(*arguments)

    return noted


@pytest.mark.parametrize("tiles", [{}, {"chunks": (40, 30)}, {"chunks": (40, 30), "compression": "lzf"}])
def test_what_is_not_deflated_has_none(tmp_path: Path, tiles: dict[str, Any]) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("a", data=np.eye(100, 80), **tiles)
    with h5py.File(tmp_path / "a.h5") as file, ChunkReader.of(tmp_path / "a.h5", file) as reader:
        assert reader.chunks(file["a"].ref, h5py.h5o.get_info(file["a"].id).addr) is None


def test_a_chunk_that_lost_its_place_in_the_tree_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        for name in ("a", "b"):
            file.create_dataset(name, data=np.eye(100, 80), chunks=(100, 80), compression="gzip")
    content = bytearray(path.read_bytes())
    trees = [at for at in range(len(content)) if content[at : at + 5] == b"TREE\x01"]
    content[trees[1] + 6] = 0  # no child any more
    path.write_bytes(content)
    with h5py.File(path) as file, ChunkReader.of(path, file) as reader:
        found = [reader.chunks(file[name].ref, h5py.h5o.get_info(file[name].id).addr) for name in ("a", "b")]
        assert found[0] is not None and len(found[0][1].places) == 1
        assert found[1] is None
