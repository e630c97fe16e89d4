"""Seconds, peak memory and size of every label format, beside what the official scripts take.

    python benchmarks/speed/label_formats.py [--jobs N] [--frames N]

The seven formats made from poses run at the full size of the data set: 2,110,396 synthetic poses in the original's
files (`--frames` poses a recording instead, for a trial that leaves no evidence). What reads masks or videos, the
multi-view labels and mmpose's images, runs on a small archive and is stated per 1000 views, as a synthetic archive of
two million masks or frames would measure the disk; the official order of both, whole masks read and searched, and each
frame decoded and written by OpenCV, runs beside them. Each command is a whole process; peak memory is that of its
largest process. Evidence goes to benchmarks/results/. Needs 15 GB of disk in the temporary folder.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import pyarrow.parquet as pq

from h36m_toolbox.benchmarks.speed.evidence import keep_evidence
from h36m_toolbox.benchmarks.speed.mask_boxes import official_order
from h36m_toolbox.benchmarks.speed.processes import cost, h36m
from h36m_toolbox.labels import labels_path
from h36m_toolbox.sequences import SPLITS, recordings

# The official scripts' CPU seconds per 1000 views on one thread, from watching them on synthetic input, and what is in.
OFFICIAL: dict[str, tuple[float, str]] = {
    "labels toolbox": (0.07, "generate_labels"),
    "labels poseformer": (2.7, "generate_labels_h36m; reads every JPEG for its size"),
    "labels videopose3d": (0.01, "prepare_data_h36m; an upper bound, without the import of torch"),
    "labels h36m-fetch": (6.5, "process_all; extracts all frames of each video on the way"),
    "labels multiview": (2.31, "collect-bboxes (masks as uint8) and generate-labels"),
    "labels mmpose --images decode": (4.0, "preprocess_h36m at 50 fps; 3.5 to 4.5, labels and images in one"),
}
FULL_SIZE = ("parquet", "toolbox", "poseformer", "videopose3d", "h36m-fetch", "mmpose", "integral")
SMALL_PLAN = ("--subjects", "S1,S9", "--actions", "Walking", "--frames", "250")


def measured(arguments: list[str], written: Path) -> dict[str, Any]:
    """Run `h36m` with these arguments: wall and CPU seconds, peak MB of a process, MB of what it wrote."""
    spent = asdict(cost(h36m(*arguments)))
    size = sum(path.stat().st_size for path in written.rglob("*") if path.is_file() and not path.is_symlink())
    return {**spent, "written_mb": round(size / 1e6)}


def full_size(folder: Path, frames: list[str], jobs: list[str]) -> dict[str, dict[str, Any]]:
    """The formats made from poses, each written and removed again; `views` counts the poses of all cameras."""
    raw, data = folder / "raw", folder / "data"
    results = {"synth": measured(["synth", str(raw), "--size", "full", *frames, *jobs], raw)}
    results["detections gt"] = measured(["detections", str(raw), "--out", str(data)], data / "detections")
    shutil.copyfile(data / "detections" / "gt.parquet", data / "detections" / "cpn.parquet")
    for name in FULL_SIZE:
        switches = ["--without-images"] if name in ("toolbox", "poseformer") else []
        command = ["labels", str(raw), "--out", str(data), "--format", name, *switches, *jobs]
        results[f"labels {name}"] = measured(command, data / "labels" / name)
        if name != "parquet":
            shutil.rmtree(data / "labels" / name)
    results["stats"] = measured(["stats", str(data)], data / "stats")
    views = sum(pq.read_metadata(labels_path(data, split)).num_rows for split in SPLITS)
    return {name: {**values, "views": views} for name, values in results.items()}


def small_size(folder: Path, jobs: list[str]) -> dict[str, dict[str, Any]]:
    """What reads masks or videos, on a few recordings of both."""
    raw, data = folder / "small", folder / "small_data"
    measured(["synth", str(raw), *SMALL_PLAN, "--videos", *jobs], raw)
    masks = write_masks(raw, 250)
    views = 250 * len(masks)
    results = {}
    for name, switches in (("multiview", []), ("mmpose", ["--images", "decode"])):
        command = ["labels", str(raw), "--out", str(data), "--format", name, *switches, *jobs]
        values = measured(command, data / "labels" / name)
        results[" ".join(["labels", name, *switches])] = {**values, "views": views}
    for name, seconds in (
        ("labels multiview", timed(masks, official_order)),
        ("labels mmpose --images decode", timed(sorted(raw.rglob("*.mp4")), read_and_write)),
    ):
        results[name]["order_cpu_s_per_1000_views"] = round(1000 * seconds / views, 3)
    return results


def timed(paths: list[Path], function: Callable[[Path], object]) -> float:
    """CPU seconds of a function of each path."""
    start = time.process_time()
    for path in paths:
        function(path)
    return time.process_time() - start


def read_and_write(video: Path) -> None:
    """mmpose's order for its images: each frame decoded to BGR and written as JPEG by OpenCV, on one thread."""
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        # one thread, as for ours
        reader = cv2.VideoCapture(str(video), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
        number = 0
        while (got := reader.read())[0]:
            number += 1
            cv2.imwrite(str(Path(folder, f"{number:06d}.jpg")), got[1])
        if not number:
            sys.exit(f"{video}: OpenCV read no frame")


def write_masks(raw: Path, count: int) -> list[Path]:
    """Box masks of every view of the small archive, uint8 in deflated chunks; the files."""
    written = []
    for recording in recordings(("S1", "S9"), ("Walking",)):
        for view in recording.views:
            path = raw / view.subject / "MySegmentsMat" / "ground_truth_bb" / f"{recording.stem}.{view.camera}.mat"
            path.parent.mkdir(parents=True, exist_ok=True)
            with h5py.File(path, "w") as file:
                references = np.empty((count, 1), h5py.ref_dtype)
                for number in range(count):
                    mask = np.zeros((1000, 1000), np.uint8)
                    mask[300 + number : 600 + number, 200:800] = 1
                    stored = file.create_dataset(f"#refs#/m{number}", data=mask, chunks=(100, 100), compression=3)
                    references[number, 0] = stored.ref
                file.create_dataset("Masks", data=references, dtype=h5py.ref_dtype)
            written.append(path)
    return written


def main() -> None:
    """Measure, print and keep the evidence."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", default="2")
    parser.add_argument("--frames", help="poses a recording instead of the full size; keeps no evidence")
    arguments = parser.parse_args()
    jobs = ["--jobs", arguments.jobs]
    frames = ["--frames", arguments.frames] if arguments.frames else []
    with tempfile.TemporaryDirectory() as folder:
        results = {**small_size(Path(folder), jobs), **full_size(Path(folder), frames, jobs)}
    for name, values in results.items():
        values["cpu_s_per_1000_views"] = round(1000 * values["cpu_s"] / values["views"], 3)
        if name in OFFICIAL:
            seconds, script = OFFICIAL[name]
            values["official"] = {"cpu_s_per_1000_views": seconds, "script": script}
        print(f"{name:30} {values}")
    total = sum(values["wall_s"] for name, values in results.items() if name.removeprefix("labels ") in FULL_SIZE)
    processor = sum(values["cpu_s"] for name, values in results.items() if name.removeprefix("labels ") in FULL_SIZE)
    print(f"the formats made from poses: {total:.0f} s in all (goal 600), {processor:.0f} CPU s")
    if not frames:
        evidence: dict[str, Any] = {"claim": "label formats: seconds and peak memory at full size", "jobs": jobs[1]}
        evidence |= {"total_s": round(total, 1), "total_cpu_s": round(processor, 1)}
        keep_evidence("label_formats", {**evidence, "results": results}, ("pyarrow", "numpy", "cdflib", "h5py"))


if __name__ == "__main__":
    main()
