"""Seconds and peak memory of scoring the whole test set, and of P-MPJPE beside the official procedure.

    python benchmarks/speed/metrics.py [--repeat N]

543,344 poses of S9 and S11 as noise about a made-up figure, in the real sequences' lengths. `score` is `evaluate` with
every metric, from tables in memory, in a process of its own. The batched P-MPJPE that VideoPose3D and its followers
compute with numpy's SVD is re-created here in our own words from its description and must give the same numbers.
Evidence goes to benchmarks/results/metrics.json.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from h36m_toolbox.benchmarks import metrics
from h36m_toolbox.benchmarks.evaluator import evaluate
from h36m_toolbox.benchmarks.manifests import covered
from h36m_toolbox.benchmarks.predictions import Predictions, Provenance, prediction_schema
from h36m_toolbox.benchmarks.protocols import PROTOCOLS
from h36m_toolbox.benchmarks.speed.evidence import keep_evidence
from h36m_toolbox.pose_tables import PoseField, keyed_table, sequence_code, table_schema
from h36m_toolbox.sequences import TEST_SUBJECTS, sequences
from h36m_toolbox.skeletons import H36M_17

PROTOCOL = PROTOCOLS["videopose3d"]
POSES = 543_344
_SPREAD_MM = (130.0, 450.0, 80.0)
_MADE_UP = Provenance(
    *("noise", {}, "unknown", "gt", "", "", "", "", "", "", "", "cpu", "", 0.0, 0.0, "relative"), parameters=None
)


def official_p_mpjpe(predicted: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The batched procedure: centre, normalise, one stacked SVD, mend reflections, apply, mean of norms."""
    target_mean, mean = target.mean(axis=1, keepdims=True), predicted.mean(axis=1, keepdims=True)
    goal, source = target - target_mean, predicted - mean
    goal_norm = np.sqrt((goal**2).sum(axis=(1, 2), keepdims=True))
    norm = np.sqrt((source**2).sum(axis=(1, 2), keepdims=True))
    goal, source = goal / goal_norm, source / norm
    u, singular, vt = np.linalg.svd(goal.transpose(0, 2, 1) @ source)
    v = vt.transpose(0, 2, 1)
    rotation = v @ u.transpose(0, 2, 1)
    sign = np.sign(np.linalg.det(rotation))[:, None]
    v[:, :, -1] *= sign
    singular[:, -1] *= sign[:, 0]
    rotation = v @ u.transpose(0, 2, 1)
    scale = singular.sum(axis=1)[:, None, None] * goal_norm / norm
    shift = target_mean - scale * (mean @ rotation)
    return np.linalg.norm(scale * (predicted @ rotation) + shift - target, axis=2).mean(axis=1)


def poses(dtype: type) -> tuple[np.ndarray, np.ndarray]:
    """Predictions and root-relative targets (POSES, 17, 3), mm."""
    random = np.random.default_rng(0)
    target: np.ndarray = random.standard_normal((POSES, 17, 3), np.float32).astype(dtype)
    target *= np.array(_SPREAD_MM, dtype)
    noise = random.standard_normal((POSES, 17, 3), np.float32)
    noise *= 40
    predicted = target + noise
    return predicted, target - target[:, :1]


def seconds(work: Callable[[], object], repeat: int) -> float:
    """The fastest of some runs."""
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def aligned(dtype: type, repeat: int) -> dict[str, Any]:
    """P-MPJPE of both, in turns on the same arrays."""
    predicted, target = poses(dtype)
    ours, theirs = metrics.p_mpjpe(predicted, target), official_p_mpjpe(predicted, target)
    times = {"ours_s": float("inf"), "official_s": float("inf")}
    for _ in range(repeat):
        times["ours_s"] = min(times["ours_s"], seconds(lambda: metrics.p_mpjpe(predicted, target), 1))
        times["official_s"] = min(times["official_s"], seconds(lambda: official_p_mpjpe(predicted, target), 1))
    return {
        **{name: round(value, 3) for name, value in times.items()},
        "times_faster": round(times["official_s"] / times["ours_s"], 1),
        "largest_difference_mm": float(np.abs(ours - theirs).max()),
    }


def whole_set(repeat: int) -> dict[str, Any]:
    """`evaluate` on the whole test set, every metric; seconds, and peak MB of this process."""
    keys = np.concatenate(
        [sequence_code(view) << 32 | np.arange(view.recording.pose_frames) for view in sequences(TEST_SUBJECTS)]
    )
    keys = np.sort(keys)
    keys = keys[covered(keys, PROTOCOL)]
    labels, predictions = _tables(keys)
    report = evaluate(predictions, labels, PROTOCOL)
    return {
        "poses": report.frames_scored,
        "official_frames": report.official,
        "score_s": round(seconds(lambda: evaluate(predictions, labels, PROTOCOL), repeat), 2),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def _tables(keys: np.ndarray) -> tuple[pa.Table, Predictions]:
    random = np.random.default_rng(0)
    target = random.standard_normal((len(keys), 17, 3), np.float32)
    target *= np.array(_SPREAD_MM, np.float32)
    target -= target[:, :1].copy()
    schema = table_schema((PoseField("joints_3d_camera", H36M_17, 3, "mm", "camera"),))
    labels = keyed_table(keys, {"joints_3d_camera": target}, schema)
    predicted = random.standard_normal((len(keys), 17, 3), np.float32)
    predicted *= 40
    predicted += target
    table = keyed_table(keys, {"joints_3d": predicted}, prediction_schema(H36M_17))
    return labels, Predictions(table, _MADE_UP, "", Path("noise"))


def in_own_process(name: str, repeat: int) -> dict[str, Any]:
    """One measurement in a fresh process, so that peaks do not add up."""
    command = [sys.executable, __file__, "--only", name, "--repeat", str(repeat)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


MEASUREMENTS: dict[str, Callable[[int], dict[str, Any]]] = {
    "score": whole_set,
    "p_mpjpe_float32": lambda repeat: aligned(np.float32, repeat),
    "p_mpjpe_float64": lambda repeat: aligned(np.float64, repeat),
}


def main() -> None:
    """Measure, print and keep the evidence."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--only", choices=list(MEASUREMENTS), help="print one measurement as JSON, keep nothing")
    arguments = parser.parse_args()
    if arguments.only:
        print(json.dumps(MEASUREMENTS[arguments.only](arguments.repeat)))
        return
    results = {name: in_own_process(name, arguments.repeat) for name in MEASUREMENTS}
    for name, values in results.items():
        print(f"{name:16} {values}")
    claim = "543,344 poses: all metrics under 2 s and 1 GB; P-MPJPE 4x (float32) and 10x (float64) the official"
    print("wrote", keep_evidence("metrics", {"claim": claim, "results": results}, ("numpy", "pyarrow")))


if __name__ == "__main__":
    main()
