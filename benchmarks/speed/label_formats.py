"""Seconds, peak memory and size of every label format, beside the official scripts' order of operations.

    python benchmarks/speed/label_formats.py [--jobs N] [--frames N]

The seven formats made from Human3.6M's poses alone run at its full size: 2,110,396 synthetic poses in the original's
files. What reads masks or videos runs on a part, the multi-view labels on 16 views of real length and mmpose's images
on a short film, and is extrapolated by the number of views: the first along the line through half of that part and
all of it, so that the start of the process counts once, the others start included. The formats of MPI-INF-3DHP
run on eight sequences. The official orders (official_labels.py) run beside them on 2000 filmed views. Each command is a
whole process, `--jobs` of them beneath it; peak memory is that of the largest. `--frames` poses a recording make a
trial that leaves no evidence. Needs 15 GB in the temporary folder.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow.parquet as pq

from h36m_toolbox.benchmarks.speed import official_labels
from h36m_toolbox.benchmarks.speed.evidence import keep_evidence
from h36m_toolbox.benchmarks.speed.mask_boxes import write_masks
from h36m_toolbox.benchmarks.speed.processes import apart, cost, h36m
from h36m_toolbox.formats.registry import FORMATS
from h36m_toolbox.labels import labels_path
from h36m_toolbox.mpi_inf_3dhp.preparation import FORMATS as FORMATS_3DHP
from h36m_toolbox.mpi_inf_3dhp.synthetic import SyntheticPlan, write_synthetic_3dhp
from h36m_toolbox.sequences import SPLITS, Sequence, recordings, sequences

FROM_POSES = ("parquet", "toolbox", "poseformer", "videopose3d", "h36m-fetch", "mmpose", "integral")
PICKLES = ("toolbox", "poseformer")
GOAL_S, GOAL_MB = 600, 2000
_FILM = ("--subjects", "S1", "--actions", "Walking", "--frames", "250")
_MASKED = (("S1", "S9"), ("Walking",))  # subjects and actions of the part with masks
_3DHP = SyntheticPlan(train=("S1/Seq1", "S2/Seq1"), frames=3000, image_side=16)

Measured = dict[str, Any]


def measured(arguments: list[str], written: Path, views: int | None = None) -> Measured:
    """Run `h36m` with these arguments: wall and CPU seconds, peak MB of a process, MB of what it wrote."""
    print("h36m", *arguments, flush=True)
    spent = asdict(cost(h36m(*arguments)))
    print(f"    {spent}", flush=True)
    size = sum(path.stat().st_size for path in written.rglob("*") if path.is_file() and not path.is_symlink())
    return {**spent, "written_mb": round(size / 1e6), **({"views": views} if views else {})}


def full_size(folder: Path, frames: list[str], jobs: list[str]) -> dict[str, Measured]:
    """The formats made from poses, each written and removed again; `views` counts the poses of all cameras."""
    raw, data = folder / "raw", folder / "data"
    results = {"synth": measured(["synth", str(raw), "--size", "full", *frames, *jobs], raw)}
    results["detections gt"] = measured(["detections", str(raw), "--out", str(data)], data / "detections")
    shutil.copyfile(data / "detections" / "gt.parquet", data / "detections" / "cpn.parquet")
    for name in FROM_POSES:
        switches = ["--without-images"] if name in PICKLES else []
        command = ["labels", str(raw), "--out", str(data), "--format", name, *switches, *jobs]
        results[f"labels {name}"] = measured(command, data / "labels" / name)
        if name != "parquet":
            shutil.rmtree(data / "labels" / name)
    results["stats"] = measured(["stats", str(data)], data / "stats")
    views = sum(pq.read_metadata(labels_path(data, split)).num_rows for split in SPLITS)
    shutil.rmtree(raw)
    return {name: {**values, "views": views} for name, values in results.items()}


def with_masks(folder: Path, frames: list[str], jobs: list[str]) -> dict[str, Measured]:
    """Multi-view labels of 16 views, and the official order on one of the mask files."""
    raw = folder / "masked"
    subjects, actions = _MASKED
    found = []
    for count in range(1, len(subjects) + 1):  # the larger part holds the smaller one's files
        chosen = subjects[:count]
        words = ("--subjects", ",".join(chosen), "--actions", ",".join(actions))
        cost(h36m("synth", raw, "--size", "full", *words, *frames, *jobs))
        views = [view for recording in recordings(chosen, actions) for view in recording.views]
        lengths = {view: int(frames[1]) if frames else view.video_frames for view in views}
        apart(write_mask_files, raw, lengths)
        data = folder / f"masked_data_{count}"
        command = ["labels", str(raw), "--out", str(data), "--format", "multiview", *jobs]
        found.append(measured(command, data / "labels" / "multiview", sum(lengths.values())))
    half, result = found
    result["of_half"] = half
    result["official_order"] = in_official_order("multiview", raw, data)
    shutil.rmtree(raw)
    return {"labels multiview": result}


def write_mask_files(raw: Path, lengths: dict[Sequence, int]) -> None:
    """A mask file for each view with so many masks, all the same ones from the first."""
    longest = raw / "longest.mat"
    write_masks(longest, max(lengths.values()), np.uint8, (100, 100))
    for view, length in lengths.items():
        path = raw / view.subject / "MySegmentsMat" / "ground_truth_bb" / f"{view.recording.stem}.{view.camera}.mat"
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(longest, path)
        with h5py.File(path, "r+") as file:
            references = file["Masks"][:length]
            del file["Masks"]
            file.create_dataset("Masks", data=references, dtype=h5py.ref_dtype)
    longest.unlink()


def with_videos(folder: Path, jobs: list[str]) -> dict[str, Measured]:
    """mmpose's images, decoded or linked, and the official orders, on filmed views."""
    raw, data = folder / "filmed", folder / "filmed_data"
    cost(h36m("synth", raw, *_FILM, "--videos", *jobs))
    cost(h36m("extract", raw, "--out", data, *jobs))
    views = len(list((data / "images").rglob("*.jpg")))
    results = {}
    for source in ("decode", "link"):
        command = ["labels", str(raw), "--out", str(data), "--format", "mmpose", "--images", source, *jobs]
        results[f"labels mmpose --images {source}"] = measured(command, data / "labels" / "mmpose", views)
        shutil.rmtree(data / "labels" / "mmpose")
    for name in official_labels.SCRIPTS:
        if name != "multiview":
            results[name] = in_official_order(name, raw, data)
    return results


def of_3dhp(folder: Path, jobs: list[str]) -> dict[str, Measured]:
    """The formats of MPI-INF-3DHP, on two training sequences and the whole number of test sequences."""
    raw, data = folder / "3dhp", folder / "3dhp_data"
    apart(write_synthetic_3dhp, raw, np.random.default_rng(0), _3DHP)
    views = _3DHP.frames * (len(_3DHP.train) * len(_3DHP.cameras) + len(_3DHP.test))
    place = data / "mpi-inf-3dhp" / "labels"
    return {
        f"labels {name} (MPI-INF-3DHP)": measured(
            ["labels", str(raw), "--out", str(data), "--format", name, *jobs], place, views
        )
        for name in FORMATS_3DHP
    }


def in_official_order(name: str, raw: Path, data: Path) -> Measured:
    """What official_labels.py says of one order, in a process of its own."""
    print("official order:", name, flush=True)
    command = [sys.executable, official_labels.__file__, name, str(raw), str(data)]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return {**found, "cpu_s_per_1000_views": round(1000 * found["cpu_s"] / found["views"], 3)}


def judged(results: dict[str, Measured]) -> dict[str, Any]:
    """The whole data set's labels together, mmpose's images apart: seconds, most memory, MB on disk."""
    labels = {name: results[f"labels {name}"] for name in FORMATS}
    whole = {name: values.get("whole_set", values) for name, values in labels.items()}
    written = {name: values["written_mb"] for name, values in whole.items()}
    return {
        "wall_s": round(sum(values["wall_s"] for values in whole.values()), 1),
        "cpu_s": round(sum(values["cpu_s"] for values in whole.values()), 1),
        "peak_mb": max(values["peak_mb"] for values in labels.values()),
        "written_mb": round(sum(written.values())),
        "pickles_mb": round(sum(written[name] for name in PICKLES)),
        "largest_other_mb": max(size for name, size in written.items() if name not in PICKLES),
    }


def completed(results: dict[str, Measured], orders: dict[str, Measured]) -> None:
    """Rates, what a part makes of the whole set, and the ratio to the official order, written into the results."""
    poses = sum(view.recording.pose_frames for view in sequences())
    masks = sum(view.video_frames for view in sequences())
    for name, values in results.items():
        values["cpu_s_per_1000_views"] = round(1000 * values["cpu_s"] / values["views"], 3)
        if name in ("labels multiview", "labels mmpose --images decode", "labels mmpose --images link"):
            whole = masks if name == "labels multiview" else poses
            values["whole_set"] = _of_whole_set(values, whole)
        order = values.pop("official_order", None) or orders.get(_order_of(name))
        if order:
            values["official_order"] = order
            values["times_as_fast"] = round(order["cpu_s_per_1000_views"] / values["cpu_s_per_1000_views"], 2)


def _of_whole_set(part: Measured, views: int) -> dict[str, float]:
    """What so many views take, on the line through a part and half of it, or through nothing where there is no half."""
    half = part.get("of_half") or {"wall_s": 0, "cpu_s": 0, "written_mb": 0, "views": 0}
    more = (views - part["views"]) / (part["views"] - half["views"])
    return {key: round(part[key] + more * (part[key] - half[key]), 1) for key in ("wall_s", "cpu_s", "written_mb")}


def _order_of(name: str) -> str:
    return {"labels mmpose --images decode": "mmpose", "labels mmpose": ""}.get(name, name.removeprefix("labels "))


def main() -> None:
    """Measure, print and keep the evidence."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", default="2")
    parser.add_argument("--frames", help="poses a recording instead of the full size; keeps no evidence")
    arguments = parser.parse_args()
    missing = set(FORMATS) - {*FROM_POSES, "multiview"}
    if missing:
        sys.exit(f"label formats that this script does not measure: {', '.join(sorted(missing))}")
    jobs = ["--jobs", arguments.jobs]
    frames = ["--frames", arguments.frames] if arguments.frames else []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        filmed = with_videos(folder, jobs)
        orders = {name: filmed.pop(name) for name in official_labels.SCRIPTS if name in filmed}
        results = {**filmed, **with_masks(folder, frames, jobs), **of_3dhp(folder, jobs)}
        results |= full_size(folder, frames, jobs)
    completed(results, orders)
    for name, values in results.items():
        line = f"{name:34} {values['wall_s']:7.1f} s, {values['cpu_s']:7.1f} CPU s, {values['peak_mb']:4} MB at most, "
        line += f"{values['written_mb']:5} MB written, {values['cpu_s_per_1000_views']:.3f} CPU s per 1000 views"
        if "official_order" in values:
            order = values["official_order"]["cpu_s_per_1000_views"]
            line += f"; official order {order:.3f}: {values['times_as_fast']} times"
        print(line)
        if "whole_set" in values:
            print(f"    of {values['views']:,} views; linearly, of the whole set: {values['whole_set']}")
    total = judged(results)
    print(
        f"all label formats, whole set: {total['wall_s']:.0f} s in all (goal {GOAL_S}), {total['cpu_s']:.0f} CPU s, "
        f"{total['peak_mb']} MB of memory at most (goal {GOAL_MB}); {total['written_mb']} MB on disk, of these"
        f" {total['pickles_mb']} pickles; the largest other {total['largest_other_mb']}"
    )
    if not frames:
        claim = "every label format of the whole data set: seconds, peak memory and size"
        evidence = {"claim": claim, "jobs": jobs[1], "total": total, "official_orders": orders, "results": results}
        keep_evidence("label_formats", evidence, ("pyarrow", "numpy", "cdflib", "h5py", "opencv-python-headless"))


if __name__ == "__main__":
    main()
