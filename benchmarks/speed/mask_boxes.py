"""CPU seconds of boxes from masks: ours against whole masks read and searched, as learnable triangulation does.

    python benchmarks/speed/mask_boxes.py [--masks N] [--runs N]

MATLAB 7.3 files, a cell array of references to masks of 1000x1002 deflated at MATLAB's level 3, as logical bytes and as
doubles; the rectangle walks and changes size as around a person. Into which chunks MATLAB cuts a matrix is in no public
description (it decides by itself, says its documentation), so the layouts go from a whole mask in a chunk to 256 tiles,
and the result is that of the layout where we gain least.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from h36m_toolbox.benchmarks.speed.evidence import keep_evidence
from h36m_toolbox.raw.masks import read_mask_boxes

_SIZE = (1000, 1002)  # stored transposed: columns of the image are rows
_CHUNKS = {"one chunk": _SIZE, "quarters": (250, 1002), "tiles": (100, 100), "small tiles": (63, 63)}
_GOAL = 5


def write_masks(path: Path, count: int, dtype: type, chunks: tuple[int, int]) -> None:
    """A mask file with `count` rectangles that walk and change size, the same for every class and layout."""
    rng = np.random.default_rng(0)
    walk = np.cumsum(rng.integers(-3, 4, (count, 4)), axis=0) % 200
    corners = np.array([300, 620, 180, 870]) + np.minimum(walk, 200 - walk)  # turns at the ends of 100 px
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w", userblock_size=512) as file:
        references = np.empty((count, 1), h5py.ref_dtype)
        for number, (left, right, top, bottom) in enumerate(corners):
            mask: np.ndarray = np.zeros(_SIZE, dtype)
            mask[left:right, top:bottom] = 1
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
    parser.add_argument("--masks", type=int, default=100)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    results: dict[str, dict[str, Any]] = {}
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
                print(f"{name}: {times:.1f} times as fast (goal {_GOAL}), {per_1000:.2f} CPU s per 1000")
    least = min(results, key=lambda name: results[name]["times_as_fast"])
    print(f"least gain: {results[least]['times_as_fast']} times, {least}")
    claim = "CPU seconds of boxes from masks, whole masks read and searched over ours"
    evidence = {"claim": claim, "masks": arguments.masks, "times_as_fast": results[least]["times_as_fast"]}
    keep_evidence("mask_boxes", {**evidence, "least_gain": least, "results": results}, ("h5py", "numpy"))


if __name__ == "__main__":
    main()
