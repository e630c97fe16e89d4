"""cdflib on files that cannot be trusted: it allocates and loops as often as a record says."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import cdflib
import numpy as np

_Z_VARIABLE = 8  # type of a record
_MOST_DIMENSIONS = 100
_MOST_READS = 100_000  # a pose file takes some dozens
_MOST_DEFLATED = 300  # numbers of 4 bytes that one byte of a compressed stream can stand for, and a few more


class _CountedReads(io.BytesIO):
    """A file in memory, where a read gives what is there at most, and the end of patience with chains of records."""

    reads = 0

    def read(self, size: int | None = -1) -> bytes:
        self.reads += 1
        if self.reads > _MOST_READS:
            raise OSError("its records form no end")
        return super().read(size)


class CdfInMemory(cdflib.CDF):
    """`cdflib.CDF` that raises for damaged counts and lengths, whatever it raises, without obeying them.

    Places of the counts: CDF internal format, version 3 and 2, GDR rNumDims and VDR zNumDims.
    """

    def _file_or_url_or_s3_handler(self, filename: str, *_: Any) -> _CountedReads:
        return _CountedReads(Path(filename).read_bytes())

    def _read_gdr(self, place: int) -> Any:
        self._check_dimensions(place + 56)
        return super()._read_gdr(place)

    def _read_gdr2(self, place: int) -> Any:
        self._check_dimensions(place + 36)
        return super()._read_gdr2(place)

    def _read_vdr3(self, place: int) -> Any:
        if self._number_at(place + 8) == _Z_VARIABLE:
            self._check_dimensions(place + 340)
        return super()._read_vdr3(place)

    def _read_vdr2(self, place: int) -> Any:
        if self._number_at(place + 4) == _Z_VARIABLE:
            self._check_dimensions(place + (128 if self._post25 else 256))
        return super()._read_vdr2(place)

    def _check_dimensions(self, place: int) -> None:
        count = self._number_at(place)
        if count > _MOST_DIMENSIONS:
            raise OSError(f"a variable has {count:,} dimensions")

    def _number_at(self, place: int) -> int:
        self._f.seek(place)
        return int.from_bytes(self._f.read(4), "big")

    def values(self, name: str) -> np.ndarray:
        """All of a variable; ValueError where it announces more than the file can hold."""
        found = self.varinq(name)
        numbers = (found.Last_Rec + 1) * math.prod(map(int, found.Dim_Sizes)) * found.Num_Elements
        size = self._f.seek(0, io.SEEK_END)
        if not 0 <= numbers <= _MOST_DEFLATED * size:
            raise ValueError(f"{name} announces {numbers:,} numbers in {size:,} bytes")
        return np.asarray(self.varget(name))
