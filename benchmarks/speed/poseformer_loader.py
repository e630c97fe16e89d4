"""Crops a second of Context-Aware PoseFormer's loader beside the straightforward one, on one core, in one run.

    python benchmarks/speed/poseformer_loader.py [--frames N] [--repeat N]

Straightforward, in our own words: cv2 reads the whole frame, warps it, and numpy normalises the sample in float. Ours,
of which each batch is normalised at once, here on the CPU too although it is the device's work: whole frames, of which
the rows that the crop sees are decoded; lossless crops (`h36m crops`); and crops that `h36m extract --crop poseformer
--pack` stored, which were compressed twice. All but the last must be those of the straightforward loader, byte for
byte, or the script ends. Crops are read in the labels' order, as they are scored, and in a random one, as they are
trained on. CPU seconds, in turns, once for each of two kinds of footage: what `h36m synth` draws, flat, and `films.py`,
textured. Evidence goes to benchmarks/results/poseformer_loader.json.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import torch

from h36m_toolbox.benchmarks.speed.clocks import cpu_seconds, fastest, in_turns
from h36m_toolbox.benchmarks.speed.evidence import keep_evidence
from h36m_toolbox.benchmarks.speed.films import FilmPlan, make_films
from h36m_toolbox.benchmarks.speed.processes import cost, h36m
from h36m_toolbox.crops.poseformer import POSEFORMER_CROPS
from h36m_toolbox.detections.bundles import match_detections, read_detections
from h36m_toolbox.frames.crops import POSEFORMER_SIZE
from h36m_toolbox.frames.stores import WHOLE_FRAMES, FrameStore
from h36m_toolbox.labels import read_labels
from h36m_toolbox.models.poseformer_data import CROP_STORE, CropReader, PoseFormerRows, poseformer_rows
from h36m_toolbox.models.poseformer_inputs import normalised
from h36m_toolbox.pose_tables import sequence_of_code
from h36m_toolbox.skeletons import H36M_17

BATCH = 32
MEAN, DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
OFFICIAL = "straightforward"
EXACT = ("whole frames", "lossless crops", "lossless crops, random order")
COMPRESSED = ("JPEG crops", "JPEG crops, random order")


def made_data(folder: Path, frames: int, textured: bool) -> Path:
    """DATA with whole frames and both kinds of crops of eight views: of S9 Walking, or of a textured film of S1."""
    raw, data = folder / "raw", folder / "data"
    if textured:
        make_films(raw, FilmPlan(videos=8, seconds=frames / 50))
    else:
        cost(h36m("synth", raw, "--subjects", "S9", "--actions", "Walking", "--frames", str(frames)))
    for command in ("extract", "labels", "detections"):
        cost(h36m(command, raw, "--out", data))
    cost(h36m("extract", raw, "--out", data, "--crop", "poseformer", "--pack"))
    cost(h36m("crops", data))
    return data


def straightforward(path: Path, box: np.ndarray) -> np.ndarray:
    """A uint8 crop, BGR."""
    left, top, right, bottom = box
    across, down = POSEFORMER_SIZE[0] / (right - left), POSEFORMER_SIZE[1] / (bottom - top)
    matrix = np.array([[across, 0, -across * left], [0, down, -down * top]])
    image = cv2.imread(str(path))
    assert image is not None
    return cv2.warpAffine(image, matrix, POSEFORMER_SIZE, flags=cv2.INTER_LINEAR)


def bytes_an_image(data: Path, store: FrameStore, images: int) -> float:
    """Mean size on disk."""
    return sum(path.stat().st_size for path in store.root(data).rglob("*") if path.is_file()) / images


def measurements(data: Path, split: str, repeat: int) -> dict[str, Any]:
    """CPU ms an image, images a second and core, and how many times the straightforward loader's; sizes."""
    labels = read_labels(data, split, ["joints_3d_camera"])
    pixels = match_detections(labels, read_detections(data, "gt"), "gt", H36M_17.joints)
    rows = poseformer_rows(labels, pixels)
    keys = rows.keys.tolist()
    random = np.random.default_rng(0).permutation(len(rows))
    folders = [WHOLE_FRAMES.folder(data, sequence_of_code(key >> 32)) for key in keys]
    paths = [
        folder / WHOLE_FRAMES.file_name(sequence_of_code(key >> 32), key & 0xFFFFFFFF)
        for folder, key in zip(folders, keys, strict=True)
    ]
    lossless, compressed = CropReader(data), CropReader(data, CROP_STORE)
    with TemporaryDirectory() as folder:  # as `data`, without lossless crops
        (Path(folder) / WHOLE_FRAMES.name).symlink_to(WHOLE_FRAMES.root(data))
        whole = CropReader(Path(folder))

        def official() -> list[np.ndarray]:
            return [straightforward(path, box) for path, box in zip(paths, rows.boxes, strict=True)]

        def crops(reader: CropReader, some: PoseFormerRows = rows) -> list[np.ndarray]:
            return [reader.crop(key, box) for key, box in zip(some.keys.tolist(), some.boxes, strict=True)]

        loaders: dict[str, Callable[[], list[np.ndarray]]] = {
            OFFICIAL: official,
            "whole frames": lambda: crops(whole),
            "lossless crops": lambda: crops(lossless),
            "lossless crops, random order": lambda: crops(lossless, rows.taken(random)),
            "JPEG crops": lambda: crops(compressed),
            "JPEG crops, random order": lambda: crops(compressed, rows.taken(random)),
        }

        def finished(name: str, kind: str) -> Callable[[], None]:
            finish = KINDS[kind][name != OFFICIAL]
            return lambda: finish(loaders[name]())

        truth = [crop[..., ::-1] for crop in official()]
        for name in EXACT:  # also the first reading of each file
            wanted = [truth[row] for row in random] if name.endswith("random order") else truth
            for theirs, mine in zip(wanted, loaders[name](), strict=True):
                assert np.array_equal(theirs, mine), f"{name}: the crops are not those of the straightforward loader"
        seconds = {
            kind: in_turns({name: finished(name, kind) for name in loaders}, repeat, cpu_seconds) for kind in KINDS
        }
    times = {
        kind: {name: [1000 * each / len(rows) for each in samples] for name, samples in by_name.items()}
        for kind, by_name in seconds.items()
    }
    best = {kind: fastest(by_name) for kind, by_name in times.items()}
    return {
        "images": len(rows),
        "cpu_ms_per_image": best,
        "samples_cpu_ms_per_image": times,
        "images_per_s_per_core": {
            kind: {name: 1000 / value for name, value in by_name.items()} for kind, by_name in best.items()
        },
        "speedup": {
            kind: {name: by_name[OFFICIAL] / value for name, value in by_name.items() if name != OFFICIAL}
            for kind, by_name in best.items()
        },
        "kB_per_image": {
            store.name: bytes_an_image(data, store, len(rows)) / 1000
            for store in (WHOLE_FRAMES, POSEFORMER_CROPS, CROP_STORE)
        },
    }


def one_by_one(crops: list[np.ndarray]) -> None:
    """Normalised as in the official loader, in float64, each sample by itself."""
    for crop in crops:
        np.ascontiguousarray(((crop[..., ::-1] / 255.0 - MEAN) / DEVIATION).astype(np.float32))


def batch_by_batch(crops: list[np.ndarray]) -> None:
    """Normalised as ours are."""
    for start in range(0, len(crops), BATCH):
        normalised(torch.from_numpy(np.stack(crops[start : start + BATCH])), "hrnet_32")


def as_read(crops: list[np.ndarray]) -> None:
    """Left as they are."""


KINDS = {"uint8": (as_read, as_read), "normalised": (one_by_one, batch_by_batch)}  # theirs, ours


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--frames", type=int, default=24, help="of each of eight views")
    parser.add_argument("--repeat", type=int, default=3)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    measured: dict[str, Any] = {"settings": vars(asked)}
    for footage, split, textured in (("drawn", "val", False), ("textured", "train", True)):
        with TemporaryDirectory() as folder:
            measured[footage] = measurements(made_data(Path(folder), asked.frames, textured), split, asked.repeat)
        print(f"{footage} footage, times the straightforward loader's images/s per core:")
        for name in (*EXACT, *COMPRESSED):
            uint8, floats = (measured[footage]["speedup"][kind][name] for kind in KINDS)
            rate = measured[footage]["images_per_s_per_core"]["uint8"][name]
            exact = "byte for byte" if name in EXACT else "compressed twice"
            print(f"  {name}: {uint8:.1f} ({rate:.0f}/s), {floats:.1f} with normalisation; {exact}")
        sizes = ", ".join(f"{name} {size:.0f}" for name, size in measured[footage]["kB_per_image"].items())
        print(f"  kB an image: {sizes}")
    print(keep_evidence("poseformer_loader", measured, ("simplejpeg", "opencv-python-headless", "numpy", "torch")))


if __name__ == "__main__":
    main()
