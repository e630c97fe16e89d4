"""Reading other people's pickles and object-array npz files without running anything in them."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from h36m_toolbox.errors import H36MError


def _latin1_bytes(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"codec {encoding} is not allowed")
    return text.encode("latin1")


def _from_buffer(buffer: bytes, dtype: np.dtype, shape: tuple[int, ...], order: Literal["C", "F"]) -> np.ndarray:
    """How numpy 2 restores an array from pickle protocol 5."""
    return np.frombuffer(buffer, dtype).reshape(shape, order=order)


_reconstruct = np.empty(0).__reduce__()[0]
_scalar = np.float64(0).__reduce__()[0]

# Plain containers and numbers need no class; numpy arrays need these, under the names of numpy 1 and 2.
_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _latin1_bytes,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _reconstruct for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _scalar for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _from_buffer for core in ("core", "_core")},
}


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which label files have no use for") from None


def read_plain_pickle(path: Path) -> Any:
    """What a pickle of containers, numbers, strings and numpy arrays holds; an H36MError for anything else.

    Nothing in the file is executed: only numpy's own array constructors can be named.
    """
    with path.open("rb") as file:
        return _load(file, path)


def read_object_npz(path: Path) -> dict[str, Any]:
    """The arrays of an npz file by name; pickled object arrays of one element (VideoPose3D's dicts) as that element."""
    values = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                with archive.open(name) as member:
                    values[name.removesuffix(".npy")] = _read_npy(member, path)
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        raise H36MError(f"{path}: no readable npz file ({error}); get it again") from error
    return values


def _read_npy(file: IO[bytes], path: Path) -> Any:
    content = io.BytesIO(file.read())
    try:
        version = np.lib.format.read_magic(content)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read_header(content)
    except ValueError as error:
        raise H36MError(f"{path}: holds something that is no npy array ({error}); get it again") from error
    if not dtype.hasobject:
        content.seek(0)
        return np.load(content, allow_pickle=False)
    array = _load(content, path)
    if not isinstance(array, np.ndarray) or array.shape != shape:
        raise H36MError(f"{path}: its pickled array is not the one its header announces; get it again")
    return array.item() if array.size == 1 else array


def _load(file: IO[bytes], path: Path) -> Any:
    try:
        # Python 2 strings hold raw bytes: latin1 keeps each of them, as numpy's own reader is told to do
        return _PlainUnpickler(file, encoding="latin1").load()
    except pickle.UnpicklingError as error:
        raise H36MError(f"{path}: refused to unpickle ({error}); it is damaged or not what it claims to be") from error
    except Exception as error:  # a damaged stream makes the unpickler raise almost anything
        raise H36MError(f"{path}: cannot be unpickled ({type(error).__name__}: {error}); get it again") from error
