"""Seconds and peak memory of label formats on about 1/8, 1/4, 1/2 and the whole of the data, and of two workers.

    python benchmarks/speed/growth.py [--shares 1/8,1/4,1/2,1] [--formats parquet,videopose3d,integral] [--films N]

A share is 2, 4, 8 or all 15 actions of every subject, at the data set's own lengths: sequences stay as long as they
are and only their number grows. Each command is a whole process on one thread; peak memory is that of its largest
process. On half of the data (or the largest share asked for) each format, the Toolbox's pickles too, and the frames of
N films run with `--jobs 1`, with `--jobs 2` and on a Dask cluster of two worker processes, started with the `dask`
command, one after the other; efficiency is the time of one over twice that of two. `--frames` poses a recording make a
trial that leaves no evidence. The whole takes 12 GB in the temporary folder.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from h36m_toolbox.benchmarks.speed.evidence import keep_evidence
from h36m_toolbox.benchmarks.speed.films import FilmPlan, make_films
from h36m_toolbox.benchmarks.speed.processes import apart, cost, h36m
from h36m_toolbox.sequences import ACTIONS, SUBJECTS, recordings

SHARES = {"1/8": 2, "1/4": 4, "1/2": 8, "1": len(ACTIONS)}
_COMPARED_ON = "1/2"
_PATIENCE_S = 60

Measured = dict[str, Any]


@contextmanager
def dask_cluster(folder: Path, workers: int) -> Iterator[str]:
    """The address of a scheduler with worker processes of one thread each, ended with the block."""
    note = folder / "scheduler.json"
    scheduler = ["scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
    worker = ["worker", "--nthreads", "1", "--no-dashboard"]
    started = []
    try:
        for words in (scheduler, *[worker] * workers):
            command = [sys.executable, "-m", "dask", *words, "--scheduler-file", str(note)]
            started.append(subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
            end = time.monotonic() + _PATIENCE_S
            while not note.is_file() and time.monotonic() < end:
                time.sleep(0.2)
        address = str(json.loads(note.read_text())["address"])
        apart(_wait_for_workers, address, workers)
        yield address
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait()


def _wait_for_workers(address: str, workers: int) -> None:
    from distributed import Client

    with Client(address, timeout=_PATIENCE_S) as client:
        client.wait_for_workers(workers, timeout=_PATIENCE_S)


def labelled(raw: Path, data: Path, name: str, workers: list[str]) -> Measured:
    """What one format costs; it is removed again."""
    switches = ["--without-images"] if name in ("toolbox", "poseformer") else []
    spent = cost(h36m("labels", raw, "--out", data, "--format", name, *switches, *workers))
    shutil.rmtree(data / "labels" / name)
    return asdict(spent)


def extracted(raw: Path, data: Path, workers: list[str]) -> Measured:
    """What the frames of every film cost; they are removed again."""
    spent = cost(h36m("extract", raw, "--out", data, *workers))
    shutil.rmtree(data)
    return asdict(spent)


def compared(folder: Path, raw: Path, formats: list[str], films: int) -> dict[str, dict[str, Measured]]:
    """Each format, and the frames of films: one process, two, and two Dask workers (whose CPU and memory are apart)."""
    filmed = folder / "films"
    apart(make_films, filmed, FilmPlan(films))
    with dask_cluster(folder, 2) as address:
        ways = {"jobs 1": ["--jobs", "1"], "jobs 2": ["--jobs", "2"], "dask 2": ["--dask", address]}
        data = folder / "compared"
        results = {name: {way: labelled(raw, data, name, workers) for way, workers in ways.items()} for name in formats}
        frames = folder / "frames"
        results["extract"] = {way: extracted(filmed, frames, workers) for way, workers in ways.items()}
    return results


def efficiency_of(results: dict[str, Measured]) -> dict[str, float]:
    """Time of one process over twice that of two, and of two processes over that of two Dask workers."""
    one, two, dask = (results[where]["wall_s"] for where in ("jobs 1", "jobs 2", "dask 2"))
    return {
        "jobs_2": round(one / (2 * two), 2),
        "dask_2": round(one / (2 * dask), 2),
        "jobs_2_over_dask_2": round(two / dask, 2),
    }


def growth_of(poses: list[int], results: list[Measured]) -> dict[str, float]:
    """The exponent of CPU seconds over poses, fitted, and the largest share's memory over the smallest's."""
    exponent = np.polyfit(np.log(poses), np.log([values["cpu_s"] for values in results]), 1)[0]
    return {
        "exponent": round(float(exponent), 2),
        "memory_ratio": round(results[-1]["peak_mb"] / results[0]["peak_mb"], 2),
    }


def poses_of(actions: tuple[str, ...], frames: int | None) -> int:
    """Poses of all views of these actions of every subject."""
    found = recordings(SUBJECTS, actions)
    return sum(len(recording.views) * (frames or recording.pose_frames) for recording in found)


def main() -> None:
    """Measure, print and keep the evidence."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shares", default=",".join(SHARES))
    parser.add_argument("--formats", default="parquet,videopose3d,integral")
    parser.add_argument("--films", type=int, default=8)
    parser.add_argument("--frames", type=int)
    arguments = parser.parse_args()
    if not find_spec("distributed"):
        sys.exit("the Dask cluster needs the package distributed: pip install 'h36m[dask]'")
    shares, formats = arguments.shares.split(","), arguments.formats.split(",")
    lengths = ["--frames", str(arguments.frames)] if arguments.frames else []
    print(f"growth.py writes up to 12 GB to {tempfile.gettempdir()}")
    results: dict[str, dict[str, Measured]] = {}
    poses: dict[str, int] = {}
    comparison: dict[str, dict[str, Measured]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        raw, data = folder / "raw", folder / "data"
        for share in shares:  # a larger share holds the smaller ones' files
            actions = ACTIONS[: SHARES[share]]
            cost(h36m("synth", raw, "--size", "full", "--actions", ",".join(actions), *lengths, "--jobs", "2"))
            poses[share] = poses_of(actions, arguments.frames)
            results[share] = {name: labelled(raw, data, name, ["--jobs", "1"]) for name in formats}
            for name, values in results[share].items():
                print(f"{poses[share]:9,} poses, {name}: {values['cpu_s']} CPU s, {values['peak_mb']} MB", flush=True)
            if share == (_COMPARED_ON if _COMPARED_ON in shares else shares[-1]):
                comparison = compared(folder, raw, [*formats, "toolbox"], arguments.films)
                for name, values in comparison.items():
                    print(f"{name}: {efficiency_of(values)}; wall s: {[each['wall_s'] for each in values.values()]}")
    growth = {name: growth_of(list(poses.values()), [results[share][name] for share in shares]) for name in formats}
    for name, values in growth.items():
        print(f"{name}: CPU seconds grow as poses^{values['exponent']}, memory by {values['memory_ratio']} times")
    evidence: dict[str, Any] = {
        "claim": "time and memory over 1/8, 1/4, 1/2 and all; efficiency of two processes and of two Dask workers",
        "poses": poses,
        "growth": growth,
        "efficiency": {name: efficiency_of(values) for name, values in comparison.items()},
        "results": results,
        "comparison": comparison,
    }
    if shares == list(SHARES) and not lengths:
        keep_evidence("growth", evidence, ("pyarrow", "numpy", "cdflib", "dask", "distributed"))


if __name__ == "__main__":
    main()
