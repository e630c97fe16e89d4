"""World poses as Martinez et al.'s `h36m.zip` holds them: `h36m/S1/MyPoses/3D_positions/Walking 1.h5`.

One dataset `3D_positions` (96, frames): what `D3_Positions` holds, transposed. Stems are canonical: S1's TakingPhoto
and WalkingDog are called Photo and WalkDog. Source: https://github.com/una-dinosauria/3d-pose-baseline.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from h36m_toolbox.errors import H36MError
from h36m_toolbox.skeletons import H36M_32

DATASET = "3D_positions"
_ROWS = len(H36M_32) * 3
_EXPECTED = f"an HDF5 file whose dataset {DATASET} has {_ROWS} rows, x y z of 32 joints, and a column a frame"
_DAMAGE = (OSError, RuntimeError, KeyError, ValueError, TypeError)  # what h5py makes of a damaged file


def read_world_h5(path: Path) -> np.ndarray:
    """The poses of one file, float32 (frames, 32, 3), world, mm.

    Raises H36MError for a missing, truncated or foreign file, and for numbers that are NaN or infinite.
    """
    with _opened(path) as dataset:
        values = dataset[()]
    if not np.isfinite(values).all():
        raise H36MError(f"{path}: {DATASET} holds NaN or infinite numbers; get the file again")
    return np.ascontiguousarray(values.T, np.float32).reshape(-1, len(H36M_32), 3)


def world_h5_frames(path: Path) -> int:
    """How many poses a file holds, from its headers alone; raises as `read_world_h5`."""
    with _opened(path) as dataset:
        return int(dataset.shape[1])


@contextmanager
def _opened(path: Path) -> Iterator[h5py.Dataset]:
    if not path.is_file():
        raise H36MError(f"{path}: not found; expected {_EXPECTED}")
    try:
        with h5py.File(path, "r") as file:
            dataset = file[DATASET]
            if dataset.ndim != 2 or len(dataset) != _ROWS or dataset.dtype.kind != "f":
                raise ValueError(f"{DATASET} is {dataset.dtype} {dataset.shape}")
            yield dataset
    except (*_DAMAGE, AttributeError) as error:  # a group has no ndim
        raise H36MError(f"{path}: damaged or another file ({error}); expected {_EXPECTED}: get it again") from error
