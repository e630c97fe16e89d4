"""Seconds and peak memory of label formats on about 1/8, 1/4, 1/2 and the whole of the data, and of two processes.

    python benchmarks/speed/growth.py [--shares 1/8,1/4,1/2,1] [--formats parquet,videopose3d,integral]

A share is 2, 4, 8 or all 15 actions of every subject, at the data set's own lengths: sequences stay as long as they
are and only their number grows. The largest share is done again on two processes and on a Dask cluster of two worker
processes on this machine, when `distributed` is installed. Each command is a whole process on one thread; peak memory
is that of its largest process. The whole takes 12 GB in the temporary folder.
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

from h36m_toolbox.benchmarks.speed.evidence import keep_evidence
from h36m_toolbox.benchmarks.speed.processes import cost, h36m
from h36m_toolbox.sequences import ACTIONS, SUBJECTS, recordings

SHARES = {"1/8": 2, "1/4": 4, "1/2": 8, "1": len(ACTIONS)}
_PATIENCE_S = 60


@contextmanager
def dask_cluster(folder: Path, workers: int) -> Iterator[str]:
    """The address of a scheduler with worker processes of one thread each, ended with the block."""
    note = folder / "scheduler.json"
    scheduler = ["distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
    worker = ["distributed.cli.dask_worker", "--nthreads", "1", "--no-dashboard"]
    started = []
    try:
        for module in (scheduler, *[worker] * workers):
            full = [sys.executable, "-m", *module, "--scheduler-file", str(note)]
            started.append(subprocess.Popen(full, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
            end = time.monotonic() + _PATIENCE_S
            while not note.is_file() and time.monotonic() < end:
                time.sleep(0.2)
        yield str(json.loads(note.read_text())["address"])
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait()


def labelled(raw: Path, data: Path, name: str, workers: list[str]) -> dict[str, Any]:
    """What one format costs; it is removed again."""
    switches = ["--without-images"] if name in ("toolbox", "poseformer") else []
    spent = cost(h36m("labels", raw, "--out", data, "--format", name, *switches, *workers))
    shutil.rmtree(data / "labels" / name)
    return asdict(spent)


def poses_of(actions: tuple[str, ...]) -> int:
    """Poses of all views of these actions of every subject."""
    return sum(len(recording.views) * recording.pose_frames for recording in recordings(SUBJECTS, actions))


def main() -> None:
    """Measure, print and keep the evidence."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shares", default=",".join(SHARES))
    parser.add_argument("--formats", default="parquet,videopose3d,integral")
    arguments = parser.parse_args()
    shares, formats = arguments.shares.split(","), arguments.formats.split(",")
    print(f"growth.py writes up to 12 GB to {tempfile.gettempdir()}")
    results: dict[str, dict[str, Any]] = {}
    rows: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as folder:
        raw, data = Path(folder, "raw"), Path(folder, "data")
        for share in shares:  # a larger share holds the smaller ones' files
            actions = ",".join(ACTIONS[: SHARES[share]])
            cost(h36m("synth", raw, "--size", "full", "--actions", actions, "--jobs", "2"))
            rows[share] = poses_of(ACTIONS[: SHARES[share]])
            results[share] = {name: labelled(raw, data, name, ["--jobs", "1"]) for name in formats}
            print(share, results[share])
        two = {name: labelled(raw, data, name, ["--jobs", "2"]) for name in formats}
        results["on two processes"] = two
        if find_spec("distributed"):
            with dask_cluster(Path(folder), 2) as address:
                results["on Dask"] = {name: labelled(raw, data, name, ["--dask", address]) for name in formats}
    last = results[shares[-1]]
    efficiency = {
        where: {name: round(last[name]["wall_s"] / (2 * results[where][name]["wall_s"]), 2) for name in formats}
        for where in ("on two processes", "on Dask")
        if where in results
    }
    evidence: dict[str, Any] = {
        "claim": "labels: time and memory over 1/8, 1/4, 1/2 and the whole; efficiency of two workers"
    }
    evidence |= {"rows": rows, "efficiency": efficiency, "results": results}
    if shares == list(SHARES):  # a trial on less leaves none
        keep_evidence("growth", evidence, ("pyarrow", "numpy", "cdflib"))
    more = rows[shares[-1]] / rows[shares[0]]
    for name in formats:
        first = results[shares[0]]
        times = last[name]["cpu_s"] / first[name]["cpu_s"]
        memory = last[name]["peak_mb"] / first[name]["peak_mb"]
        print(f"{name}: {more:.2f} times the poses take {times:.2f} times the CPU, {memory:.2f} the memory")
    print(f"efficiency of two workers: {efficiency}")


if __name__ == "__main__":
    main()
