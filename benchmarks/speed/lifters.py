"""Seconds from process start of `h36m --help` and of `h36m bench` of lifters on the whole test set, beside their floor.

    python benchmarks/speed/lifters.py [--models semgcn,martinez]

The 550,644 poses of S9 and S11 are made by `h36m synth`. The floor is the time of the network's own matrix products at
the rate that large products reach on all cores in the same run: no float32 implementation of the same arithmetic can be
faster. Evidence goes to benchmarks/results/lifters.json.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from h36m_toolbox.benchmarks.speed.evidence import keep_evidence
from h36m_toolbox.models import create_model

POSES = 543_344  # that protocol semgcn scores
_H36M = [sys.executable, "-m", "h36m_toolbox"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default="semgcn,martinez")
    asked = parser.parse_args()
    helped = min(_timed([*_H36M, "--help"])["wall_s"] for _ in range(5))
    print(f"h36m --help: {helped:.2f} s")
    peak = _products_per_s()
    found: dict[str, Any] = {}
    with TemporaryDirectory() as folder:
        raw, data = Path(folder) / "raw", Path(folder) / "data"
        _timed([*_H36M, "synth", str(raw), "--size", "full", "--subjects", "S9,S11"])
        _timed([*_H36M, "labels", str(raw), "--out", str(data)])
        _timed([*_H36M, "detections", str(raw), "--out", str(data)])
        for name in asked.models.split(","):
            command = [*_H36M, "bench", "--model", name, "--untrained", "--data", str(data)]
            measured = _timed([*command, "--runs", f"{folder}/runs"])
            floor = _flop_a_pose(name) * POSES / peak
            found[name] = {**measured, "floor_s": floor, "times_the_floor": measured["wall_s"] / floor}
            print(
                f"{name}: {measured['wall_s']:.1f} s, {measured['cpu_s']:.1f} CPU s, {measured['peak_mb']:.0f} MB; its "
                f"products alone take {floor:.1f} s at {peak / 1e9:.0f} GFLOP/s"
            )
    evidence = {
        "claim": "h36m --help under 0.3 s; bench of a lifter on 543,344 poses under 30 s from process start",
        "help_s": helped,
        "flop_per_s": peak,
        "models": found,
    }
    print(f"wrote {keep_evidence('lifters', evidence, ('torch', 'numpy', 'pyarrow'))}")


def _timed(command: list[str]) -> dict[str, float]:
    """Wall and CPU seconds of a process and its peak memory."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    complaint = process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)}: {complaint.decode()}")
    return {"wall_s": wall, "cpu_s": used.ru_utime + used.ru_stime, "peak_mb": used.ru_maxrss / 1024}


def _products_per_s() -> float:
    """FLOP/s of a large float32 product on all cores, the best of ten."""
    side = 2048
    one, other = torch.randn(2, side, side)
    times = []
    for _ in range(10):
        start = time.perf_counter()
        one @ other
        times.append(time.perf_counter() - start)
    return 2 * side**3 / min(times)


def _flop_a_pose(model: str) -> float:
    network, counter = create_model(model).eval(), FlopCounterMode(display=False)
    with torch.inference_mode(), counter:
        network(torch.zeros(2, 16, 2))
    return counter.get_total_flops() / 2


if __name__ == "__main__":
    main()
