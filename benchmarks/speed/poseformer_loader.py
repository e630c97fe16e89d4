"""Crops a second of Context-Aware PoseFormer's loader beside the straightforward one, on one core, in one run.

    python benchmarks/speed/poseformer_loader.py [--frames N] [--repeat N]

Straightforward, in our own words: cv2 reads the whole frame, warps it, and numpy normalises the sample in float. Ours:
the rows that the crop sees, the same warp, and a batch normalised at once, here on the CPU too although it is the
device's work; and crops that `h36m extract --crop poseformer --pack` stored, which were compressed twice. The exact
crops must be those of the straightforward loader, byte for byte. CPU seconds, in turns. Frames are synthetic, 1000 x
1000, about as large as the real ones. Evidence goes to benchmarks/results/poseformer_loader.json.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import torch

from h36m_toolbox.benchmarks.speed.evidence import keep_evidence
from h36m_toolbox.detections.bundles import match_detections, read_detections
from h36m_toolbox.frames.crops import POSEFORMER_SIZE
from h36m_toolbox.frames.stores import WHOLE_FRAMES
from h36m_toolbox.labels import read_labels
from h36m_toolbox.models.poseformer_data import CROP_STORE, CropReader, PoseFormerRows, poseformer_rows
from h36m_toolbox.models.poseformer_inputs import normalised
from h36m_toolbox.pose_tables import sequence_of_code
from h36m_toolbox.skeletons import H36M_17

BATCH = 32
MEAN, DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def made_data(folder: Path, frames: int) -> Path:
    """DATA with whole frames and stored crops of S9 Walking."""
    raw, data = folder / "raw", folder / "data"
    size = f"{POSEFORMER_SIZE[0]}x{POSEFORMER_SIZE[1]}"
    for words in (
        ["synth", raw, "--subjects", "S9", "--actions", "Walking", "--frames", frames],
        ["extract", raw, "--out", data],
        ["labels", raw, "--out", data],
        ["detections", raw, "--out", data],
        ["extract", raw, "--out", data, "--crop", "poseformer", "--size", size, "--pack"],
    ):
        command = [sys.executable, "-m", "h36m_toolbox", *map(str, words)]
        subprocess.run(command, check=True, capture_output=True)
    return data


def straightforward(path: Path, box: np.ndarray) -> np.ndarray:
    """A uint8 crop, BGR."""
    left, top, right, bottom = box
    across, down = POSEFORMER_SIZE[0] / (right - left), POSEFORMER_SIZE[1] / (bottom - top)
    matrix = np.array([[across, 0, -across * left], [0, down, -down * top]])
    image = cv2.imread(str(path))
    assert image is not None
    return cv2.warpAffine(image, matrix, POSEFORMER_SIZE, flags=cv2.INTER_LINEAR)


def cpu_ms(work: Callable[[], object], images: int) -> float:
    """CPU milliseconds an image."""
    start = time.process_time()
    work()
    return (time.process_time() - start) / images * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--frames", type=int, default=24, help="of each of eight views")
    parser.add_argument("--repeat", type=int, default=3)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with TemporaryDirectory() as folder:
        data = made_data(Path(folder), asked.frames)
        labels = read_labels(data, "val", ["joints_3d_camera"])
        rows = poseformer_rows(labels, match_detections(labels, read_detections(data, "gt"), "gt", H36M_17.joints))
        measured = measurements(data, rows, asked.repeat)
    path = keep_evidence("poseformer_loader", {"settings": vars(asked), **measured}, ("simplejpeg", "numpy", "torch"))
    times = measured["speedup"]
    print(
        f"{times['exact, normalised']:.1f} times the straightforward loader's images/s per core, byte for byte "
        f"({times['exact, uint8']:.1f} without normalisation on either side); {times['stored crops, uint8']:.0f} times "
        f"from stored crops; {path}"
    )


def measurements(data: Path, rows: PoseFormerRows, repeat: int) -> dict[str, dict[str, float]]:
    """CPU ms an image, images a second and core, and how many times the straightforward loader's."""
    keys = rows.keys.tolist()
    folders = [WHOLE_FRAMES.folder(data, sequence_of_code(key >> 32)) for key in keys]
    paths = [
        folder / WHOLE_FRAMES.file_name(sequence_of_code(key >> 32), key & 0xFFFFFFFF)
        for folder, key in zip(folders, keys, strict=True)
    ]
    exact, stored = CropReader(data), CropReader(data, CROP_STORE)

    def cv2_crops() -> list[np.ndarray]:
        return [straightforward(path, box) for path, box in zip(paths, rows.boxes, strict=True)]

    def crops(reader: CropReader) -> list[np.ndarray]:
        return [reader.crop(key, box) for key, box in zip(keys, rows.boxes, strict=True)]

    def cv2_normalised() -> None:
        for crop in cv2_crops():
            np.ascontiguousarray(((crop[..., ::-1] / 255.0 - MEAN) / DEVIATION).astype(np.float32))

    def ours_normalised() -> None:
        found = crops(exact)
        for start in range(0, len(found), BATCH):
            normalised(torch.from_numpy(np.stack(found[start : start + BATCH])), "hrnet_32")

    for theirs, mine in zip(cv2_crops(), crops(exact), strict=True):  # also the first reading of each file
        assert np.array_equal(theirs[..., ::-1], mine), "the exact crops are not those of the straightforward loader"
    crops(stored)
    loaders: dict[str, tuple[Callable[[], object], str]] = {
        "straightforward, uint8": (cv2_crops, "straightforward, uint8"),
        "straightforward, normalised": (cv2_normalised, "straightforward, normalised"),
        "exact, uint8": (lambda: crops(exact), "straightforward, uint8"),
        "exact, normalised": (ours_normalised, "straightforward, normalised"),
        "stored crops, uint8": (lambda: crops(stored), "straightforward, uint8"),
    }
    times: dict[str, list[float]] = {name: [] for name in loaders}
    for _ in range(repeat):
        for name, (work, _) in loaders.items():
            times[name].append(cpu_ms(work, len(rows)))
    best = {name: min(each) for name, each in times.items()}
    return {
        "cpu_ms_per_image": best,
        "images_per_s_per_core": {name: 1000 / value for name, value in best.items()},
        "speedup": {name: best[beside] / best[name] for name, (_, beside) in loaders.items() if name != beside},
    }


if __name__ == "__main__":
    main()
