"""Rows of arrays as pickled dicts: of thousands that differ in their numbers alone, pickle writes a few.

Each is what pickle would make of it when loaded. A dict is pickled once for each length that its strings and integers
have; its bytes are repeated, and every row's numbers are put in their places.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from h36m_toolbox.storage.pickle_stream import PICKLE_HEADER, PickledPart, dumped, portable

# By what a column holds: the opcodes that write it, and the bytes of each before the content.
_TEXT = {"BINUNICODE": 5}
_INTEGER = {"BININT1": 1, "BININT2": 1, "BININT": 1}
_ARRAY = {"SHORT_BINBYTES": 2, "BINBYTES": 5}
_PUT = {"BINPUT", "LONG_BINPUT"}
_GET = {"BINGET", "LONG_BINGET"}


@dataclass(frozen=True, eq=False)  # arrays have no single ==
class Column:
    """What a key holds row by row: `array` (rows, ...) of numbers, or (rows,) of integers or of UTF-8 bytes.

    A row is an array of its own, with `as_tuple` a tuple of numpy's numbers, an int or a str. Arrays and numbers have
    at least two bytes, strings two letters: of shorter ones Python has one object for all.
    """

    array: np.ndarray
    as_tuple: bool = False

    def __getitem__(self, row: int) -> Any:
        if self.array.dtype.kind == "S":
            return self.array[row].decode()
        if self.array.ndim == 1:
            return int(self.array[row])
        return tuple(self.array[row]) if self.as_tuple else self.array[row]

    @property
    def heads(self) -> dict[str, int]:
        """The opcodes that hold its content in a pickle, and how many bytes of each come before it."""
        if self.array.dtype.kind == "S":
            return _TEXT
        return _INTEGER if self.array.ndim == 1 else _ARRAY

    def lengths(self) -> np.ndarray:
        """(rows,): equal where pickle writes as many bytes."""
        if self.array.dtype.kind == "S":
            return np.char.str_len(self.array)
        if self.array.ndim > 1:
            return np.zeros(len(self.array), int)
        return _integer_bytes(self.array)

    def content(self, start: int, stop: int) -> np.ndarray:
        """The bytes (rows, size) of some rows as they stand in a pickle, one number after the other."""
        part = self.array[start:stop]
        if part.dtype.kind == "S":
            size = len(part[0])
        elif part.ndim == 1:
            part, size = part.astype("<i4"), int(_integer_bytes(part[:1])[0])
        else:
            size = part[0].nbytes
        return np.ascontiguousarray(part).reshape(len(part), -1).view(np.uint8)[:, :size]


def _integer_bytes(numbers: np.ndarray) -> np.ndarray:
    """How many bytes pickle takes for each."""
    return np.where((numbers >= 0) & (numbers < 1 << 16), np.where(numbers < 1 << 8, 1, 2), 4)


@dataclass(frozen=True, eq=False)
class Rows:
    """`count` dicts with the same keys; what is no `Column` is the same object in all of them."""

    count: int
    fields: Mapping[str, Any]

    def __getitem__(self, row: int) -> dict[str, Any]:
        if not 0 <= row < self.count:
            raise IndexError(row)
        return {key: value[row] if isinstance(value, Column) else value for key, value in self.fields.items()}

    def alike(self, first: int) -> Iterator[tuple[int, int]]:
        """Start and end of runs, from row `first` on, whose dicts are pickled in as many bytes."""
        lengths = [value.lengths() for value in self.fields.values() if isinstance(value, Column)]
        changes = np.flatnonzero((np.diff(np.stack(lengths), axis=1) != 0).any(axis=0)) + 1
        bounds = [first, *changes[changes > first].tolist(), self.count]
        yield from ((start, stop) for start, stop in pairwise(bounds) if start < stop)


def pickled_rows(rows: Rows) -> PickledPart:
    """All rows, ready for the file of a pickled list; what they share stays shared when loaded.

    Raises ValueError for a column that pickle does not write as its plain bytes.
    """
    if not rows.count:
        return PickledPart(0, b"")
    buffer = io.BytesIO()
    pickler = pickle.Pickler(buffer, PICKLE_HEADER[-1])
    streams: list[bytes | memoryview] = [portable(dumped(pickler, buffer, rows[0]))]
    shared = pickler.memo.copy()
    for start, stop in rows.alike(1):
        pickler.memo = shared.copy()  # of objects that only a row has there is one a row in the file
        template, places = bytearray(pickle.EMPTY_DICT + pickle.MARK), []
        for key, value in rows[start].items():
            template += dumped(pickler, buffer, key)
            stream = _without_unused_puts(dumped(pickler, buffer, value))
            if isinstance(column := rows.fields[key], Column):
                content = column.content(start, stop)
                places += [(len(template) + at, part) for at, part in _places(stream, content, column.heads)]
            template += stream
        template += pickle.SETITEMS
        filled = np.empty((stop - start, len(template)), np.uint8)
        filled[:] = np.frombuffer(template, np.uint8)
        for place, part in places:
            filled[:, place : place + part.shape[1]] = part
        streams.append(filled.data)
    return PickledPart(rows.count, b"".join(streams))


def _opcodes(stream: bytes) -> list[tuple[str, Any, int, int]]:
    """Name, argument, start and end of each."""
    found = [(opcode.name, argument, at) for opcode, argument, at in pickletools.genops(stream + pickle.STOP)]
    ends = [at for _, _, at in found[1:]]
    return [(name, argument, at or 0, end or 0) for (name, argument, at), end in zip(found, ends, strict=False)]


def _without_unused_puts(stream: bytes) -> bytes:
    """A value without the numbers of objects that nothing in it refers to."""
    opcodes = _opcodes(stream)
    used = {argument for name, argument, _, _ in opcodes if name in _GET}
    return b"".join(stream[start:end] for name, argument, start, end in opcodes if name not in _PUT or argument in used)


def _places(stream: bytes, content: np.ndarray, heads: Mapping[str, int]) -> Iterator[tuple[int, np.ndarray]]:
    """Where in a value's stream, which has the first row of `content`, the bytes of any row go."""
    row, taken = content[0].tobytes(), 0
    for name, _, start, end in _opcodes(stream):
        if name in heads:
            begin = start + heads[name]
            if row[taken : taken + end - begin] == stream[begin:end]:
                yield begin, content[:, taken : taken + end - begin]
                taken += end - begin
    if taken != len(row):
        raise ValueError(f"{taken} of the {len(row)} bytes of a row are in what pickle makes of it")
