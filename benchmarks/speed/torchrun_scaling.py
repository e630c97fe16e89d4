"""Two `torchrun` processes against one: training an epoch of a lifter and benching it on this machine, over gloo.

    python benchmarks/speed/torchrun_scaling.py [--model martinez]

Three times the same work, the same poses in the same batches: one process on one thread, one process on two threads,
two processes on one thread each. Scaling efficiency is the rate of two processes over twice that of one process on one
thread: what a second core, or machine, is worth. Beside it stands two processes over one process on two threads: what
`torchrun` is worth on the same cores. Rates are those that `h36m` keeps, without the start of the processes. Data are
generated. Evidence goes to benchmarks/results/torchrun_scaling.json.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from h36m_toolbox.benchmarks.speed.evidence import keep_evidence

_WORDS = "--subjects S1,S9 --actions Walking,Posing --frames 300 --size full"
_SETTINGS = {"1 process, 1 thread": (1, 1), "1 process, 2 threads": (1, 2), "2 processes, 1 thread each": (2, 1)}
_ALONE, _THREADED, _SHARED = _SETTINGS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="martinez")
    asked = parser.parse_args()
    rates: dict[str, dict[str, float]] = {"train": {}, "bench": {}}
    with TemporaryDirectory() as folder:
        raw, data = f"{folder}/raw", f"{folder}/data"
        _h36m(["synth", raw, *_WORDS.split()])
        _h36m(["labels", raw, "--out", data])
        _h36m(["detections", raw, "--out", data])
        for setting, (processes, threads) in _SETTINGS.items():
            runs = f"{folder}/runs-{processes}-{threads}"
            shared = ["--model", asked.model, "--data", data, "--runs", runs]
            _h36m(["train", *shared, "--name", "train", "--epochs", "1"], processes, threads)
            _h36m(["bench", *shared, "--untrained"], processes, threads)
            for work, table in (("train", f"{runs}/train/log.csv"), ("bench", f"{runs}/leaderboard.csv")):
                with Path(table).open(newline="") as file:
                    rates[work][setting] = float(next(csv.DictReader(file))["poses_per_s"])
    scaling = {work: each[_SHARED] / each[_ALONE] / 2 for work, each in rates.items()}
    beside_threads = {work: each[_SHARED] / each[_THREADED] for work, each in rates.items()}
    for work, each in rates.items():
        print(f"{work}: " + ", ".join(f"{rate:.0f} poses/s by {setting}" for setting, rate in each.items()))
        print(f"  scaling efficiency {100 * scaling[work]:.0f} %; {beside_threads[work]:.2f} times two threads' rate")
    evidence: dict[str, Any] = {
        "model": asked.model,
        "poses_per_s": rates,
        "scaling_efficiency": scaling,
        "times_two_threads": beside_threads,
    }
    print(f"wrote {keep_evidence('torchrun_scaling', evidence, ('torch', 'numpy'))}")


def _h36m(words: list[str], processes: int = 0, threads: int = 1) -> None:
    """Run a command, under torchrun where `processes` are asked for, each on so many threads."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes else []
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    command = [sys.executable, *torchrun, "-m", "h36m_toolbox", *words]
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
