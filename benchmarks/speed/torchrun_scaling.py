"""Two `torchrun` processes against one: training an epoch of a lifter and benching it on this machine, over gloo.

    python benchmarks/speed/torchrun_scaling.py [--model martinez]

Every process computes on one thread, so that two have twice the processor of one; efficiency is the rate of two over
twice that of one. Data are generated. Evidence goes to benchmarks/results/torchrun_scaling.json.
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

_WORDS = "--subjects S1,S9 --actions Walking,Eating,Posing --frames 400 --size full"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="martinez")
    asked = parser.parse_args()
    rates: dict[str, dict[int, float]] = {"train": {}, "bench": {}}
    with TemporaryDirectory() as folder:
        raw, data = f"{folder}/raw", f"{folder}/data"
        _h36m(["synth", raw, *_WORDS.split()], 0)
        _h36m(["labels", raw, "--out", data], 0)
        _h36m(["detections", raw, "--out", data], 0)
        for count in (1, 2):
            runs = f"{folder}/runs{count}"
            shared = ["--model", asked.model, "--data", data, "--runs", runs]
            _h36m(["train", *shared, "--name", "train", "--epochs", "1"], count)
            _h36m(["bench", *shared, "--untrained"], count)
            for work, table in (("train", f"{runs}/train/log.csv"), ("bench", f"{runs}/leaderboard.csv")):
                with Path(table).open(newline="") as file:
                    rates[work][count] = float(next(csv.DictReader(file))["poses_per_s"])
    efficiency = {work: each[2] / each[1] / 2 for work, each in rates.items()}
    for work, each in rates.items():
        print(f"{work}: {each[1]:.0f} poses/s by one process, {each[2]:.0f} by two: {100 * efficiency[work]:.0f} %")
    evidence: dict[str, Any] = {"model": asked.model, "poses_per_s": rates, "efficiency": efficiency}
    print(f"wrote {keep_evidence('torchrun_scaling', evidence, ('torch', 'numpy'))}")


def _h36m(words: list[str], processes: int) -> None:
    """Run a command, under torchrun where `processes` are asked for."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes else []
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *torchrun, "-m", "h36m_toolbox", *words]
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
