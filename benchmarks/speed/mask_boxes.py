"""CPU seconds of boxes from masks: ours against whole masks read and searched, as learnable triangulation does.

    python benchmarks/speed/mask_boxes.py [--masks N] [--runs N]

MATLAB 7.3 files, a cell array of references to deflated masks of 1000x1002, as uint8 and as double. Whether the
originals are chunked like ours (a quarter of the mask) or in MATLAB's small tiles is not known: both are measured.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np

from h36m_toolbox.benchmarks.speed.evidence import keep_evidence
from h36m_toolbox.raw.masks import read_mask_boxes

_SIZE = (1000, 1002)  # stored transposed: columns of the image are rows
_CHUNKS = {"quarters": (250, 1002), "tiles": (100, 100), "small tiles": (63, 63)}


def write_masks(path: Path, count: int, dtype: type, chunks: tuple[int, int]) -> None:
    """A mask file with `count` rectangles that move."""
    with h5py.File(path, "w") as file:
        references = np.empty((count, 1), h5py.ref_dtype)
        for number in range(count):
            mask: np.ndarray = np.zeros(_SIZE, dtype)
            mask[300 + number % 200 : 620 + number % 200, 180:870] = 1
            stored = file.create_dataset(f"#refs#/m{number}", data=mask, chunks=chunks, compression=3)
            references[number, 0] = stored.ref
        file.create_dataset("Masks", data=references, dtype=h5py.ref_dtype)


def official_order(path: Path) -> np.ndarray:
    """Each mask read whole, turned round, and its rows and columns searched."""
    boxes = []
    with h5py.File(path, "r") as file:
        for (reference,) in file["Masks"][()]:
            mask = np.array(file[reference]).T
            rows, columns = np.where(mask.any(axis=1))[0], np.where(mask.any(axis=0))[0]
            boxes.append((rows[0], columns[0], rows[-1] + 1, columns[-1] + 1))
    return np.array(boxes, np.int32)


def main() -> None:
    """Measure, print and keep the evidence."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--masks", type=int, default=150)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for dtype in (np.uint8, np.float64):
            for layout, chunks in _CHUNKS.items():
                path = Path(folder, "masks.mat")
                write_masks(path, arguments.masks, dtype, chunks)
                ours, theirs = [], []
                for _ in range(arguments.runs):
                    start = time.process_time()
                    found = read_mask_boxes(path)
                    ours.append(time.process_time() - start)
                    start = time.process_time()
                    expected = official_order(path)
                    theirs.append(time.process_time() - start)
                    assert np.array_equal(found, expected)
                times = statistics.median(other / mine for mine, other in zip(ours, theirs, strict=True))
                name = f"{np.dtype(dtype).name} in {layout} {chunks[0]}x{chunks[1]}"
                results[name] = {"times_as_fast": round(times, 2), "ours_s": ours, "official_order_s": theirs}
                per_1000 = 1000 * min(ours) / arguments.masks
                print(f"{name}: {times:.1f} times as fast (goal 5), {per_1000:.2f} s per 1000")
    claim = "CPU seconds of boxes from masks, whole masks read and searched over ours"
    keep_evidence("mask_boxes", {"claim": claim, "masks": arguments.masks, "results": results}, ("h5py", "numpy"))


if __name__ == "__main__":
    main()
