"""Where the chunks of many small HDF5 matrices lie, read from a file's own bytes.

HDF5 opens a dataset and walks its chunks in a fifth of a millisecond or more, which is longer than looking at a mask's
compressed chunks takes. MATLAB writes the library's oldest structures: object headers and B-trees of version 1 ("HDF5
File Format Specification", IV.A.1.a and III.A.1). These alone are read here, and no structure is believed before HDF5
itself has said the same of one like it.
"""

from __future__ import annotations

import io
import mmap
import struct
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

_DATASPACE, _DATATYPE, _LAYOUT, _FILTERS, _CONTINUATION = 0x1, 0x3, 0x8, 0xB, 0x10
_SHARED = 0x2  # a message's flag: it lies elsewhere
_MESSAGE = struct.Struct("<HHB3x")  # type, bytes, flags
_BLOCK = struct.Struct("<QQ")  # address, bytes
_NODE = struct.Struct("<4sBBH16x")  # signature, kind of node, level, children
_ENTRY = struct.Struct("<IIQQQQ")  # a key (bytes, skipped filters, row, column, 0) and the chunk's or child's address
_CHUNKED_MATRIX = bytes([3, 2, 3])  # layout of version 3, chunked, two dimensions and that of the element
_MOST_BLOCKS, _MOST_BYTES = 16, 1 << 16  # of a header and of each; damaged ones go in circles or on for ever


class Chunks(NamedTuple):
    """A matrix' stored chunks in order: first rows and columns, places in the file, bytes there."""

    corners: list[tuple[int, int]]
    places: list[int]
    sizes: list[int]


@dataclass(frozen=True)
class ChunkedMatrix:
    """What deflated matrices have in common: shape, element type, shape of a chunk."""

    shape: tuple[int, int]
    dtype: np.dtype
    chunk: tuple[int, int]

    @property
    def chunk_bytes(self) -> int:
        """Bytes of an inflated chunk."""
        return self.chunk[0] * self.chunk[1] * self.dtype.itemsize

    @property
    def count(self) -> int:
        """How many chunks it takes."""
        return -(-self.shape[0] // self.chunk[0]) * -(-self.shape[1] // self.chunk[1])

    @cached_property
    def corners(self) -> list[tuple[int, int]]:
        """First row and column of every chunk that it takes, in order."""
        columns = range(0, self.shape[1], self.chunk[1])
        return [(row, column) for row in range(0, self.shape[0], self.chunk[0]) for column in columns]


@dataclass(frozen=True, eq=False)
class ChunkReader:
    """An HDF5 file and its own bytes. `kinds`: what HDF5 said of a header; None where it has to be asked again."""

    file: h5py.File
    content: mmap.mmap
    base: int  # where in the file its addresses begin
    kinds: dict[bytes, ChunkedMatrix | None] = field(default_factory=dict)

    @classmethod
    def of(cls, path: Path, file: h5py.File) -> ChunkReader:
        """A reader of a file that h5py has open; to be closed, as a context."""
        with path.open("rb") as opened:
            content = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
        return cls(file, content, file.userblock_size)

    def __enter__(self) -> ChunkReader:
        return self

    def __exit__(self, *failure: object) -> None:
        self.content.close()

    def chunks(self, reference: h5py.Reference, address: int) -> tuple[ChunkedMatrix, Chunks] | None:
        """What the matrix that lies at `address` is, and its chunks; None where it is not wholly in deflated chunks.

        Raises ValueError for what is no numeric matrix, and what h5py raises where the file is damaged.
        """
        header, tree = self._header(self.base + address)
        kind = self.kinds.get(header)
        if kind is not None:
            found = self._leaves(tree, kind.count)
            if found is not None:
                return kind, found
        matrix = h5py.h5r.dereference(reference, self.file.id)
        asked = _deflated_matrix(matrix)
        chunks = self._asked_chunks(matrix) if asked else None
        if asked is None or chunks is None or len(chunks.places) != asked.count:
            return None
        agreed = bool(header) and self._leaves(tree, asked.count) == chunks
        self.kinds.setdefault(header, asked if agreed else None)
        return asked, chunks

    def _header(self, place: int) -> tuple[bytes, int]:
        """What an object header of version 1 says of a chunked matrix, and where its B-tree is; empty where unclear."""
        content, found = self.content, dict[int, bytes]()
        if content[place : place + 1] != b"\x01":
            return b"", 0
        blocks = [(place + 16, int.from_bytes(content[place + 8 : place + 12], "little"))]
        for start, size in blocks:  # grows on the way
            block = content[start : start + min(size, _MOST_BYTES)]
            at = 0
            while at + _MESSAGE.size <= len(block):
                kind, length, flags = _MESSAGE.unpack_from(block, at)
                at += _MESSAGE.size
                if kind in (_DATASPACE, _DATATYPE, _FILTERS, _LAYOUT):
                    if flags & _SHARED or kind in found:
                        return b"", 0
                    found[kind] = block[at : at + length]
                elif kind == _CONTINUATION and at + _BLOCK.size <= len(block) and len(blocks) < _MOST_BLOCKS:
                    further, length_there = _BLOCK.unpack_from(block, at)
                    blocks.append((self.base + further, length_there))
                at += length
        layout = found.pop(_LAYOUT, b"")
        if len(found) < 3 or not layout.startswith(_CHUNKED_MATRIX):
            return b"", 0
        tree = int.from_bytes(layout[3:11], "little")
        return b"".join([found[_DATASPACE], found[_DATATYPE], found[_FILTERS], layout[11:23]]), self.base + tree

    def _leaves(self, tree: int, expected: int) -> Chunks | None:
        """The chunks below the root of a B-tree of version 1; None where they are not `expected` or it is damaged."""
        places, height = [tree], -1
        while True:
            nodes = [self.content[place : place + _NODE.size] for place in places]
            if any(len(node) < _NODE.size for node in nodes):
                return None
            heads = [_NODE.unpack(node) for node in nodes]
            height = heads[0][2] if height < 0 else height - 1
            if len(heads) > expected or any(head[:3] != (b"TREE", 1, height) for head in heads):
                return None
            starts = [place + _NODE.size for place in places]
            sizes = [children * _ENTRY.size for _, _, _, children in heads]
            entries = b"".join([self.content[at : at + size] for at, size in zip(starts, sizes, strict=True)])
            if not entries or len(entries) != sum(sizes):
                return None
            bytes_there, skipped, rows, columns, _, addresses = zip(*_ENTRY.iter_unpack(entries), strict=True)
            places = [self.base + address for address in addresses]
            if height == 0:
                whole = len(places) == expected and not any(skipped)
                return Chunks(list(zip(rows, columns, strict=True)), places, list(bytes_there)) if whole else None

    def _asked_chunks(self, matrix: h5py.h5d.DatasetID) -> Chunks | None:
        """The chunks as HDF5 tells them; None where one has skipped the filters."""
        told: list[h5py.h5d.StoreInfo] = []
        matrix.chunk_iter(told.append)
        if any(chunk.filter_mask for chunk in told):
            return None
        told.sort(key=lambda chunk: chunk.chunk_offset)
        begin = 0 if _addresses_count_the_user_block() else self.base
        places = [begin + chunk.byte_offset for chunk in told]
        return Chunks([chunk.chunk_offset for chunk in told], places, [chunk.size for chunk in told])


def _deflated_matrix(matrix: h5py.h5d.DatasetID) -> ChunkedMatrix | None:
    if not isinstance(matrix, h5py.h5d.DatasetID) or len(matrix.shape) != 2 or matrix.dtype.kind not in "buif":
        raise ValueError("a mask is no numeric matrix")
    plan = matrix.get_create_plist()
    if plan.get_layout() != h5py.h5d.CHUNKED:
        return None
    if [plan.get_filter(i)[0] for i in range(plan.get_nfilters())] != [h5py.h5z.FILTER_DEFLATE]:
        return None
    return ChunkedMatrix(matrix.shape, matrix.dtype, plan.get_chunk())


@cache
def _addresses_count_the_user_block() -> bool:
    """Whether this HDF5 tells places of chunks from the file's start; older ones count from the user block's end."""
    image, mark = io.BytesIO(), np.arange(1, 65, dtype=np.uint8)
    found: list[h5py.h5d.StoreInfo] = []
    with h5py.File(image, "w", userblock_size=512) as file:
        file.create_dataset("mark", data=mark[None], chunks=(1, 64)).id.chunk_iter(found.append)
    return image.getvalue().find(mark.tobytes()) == found[0].byte_offset
