"""Every bundled model on one GPU: rate, memory, waiting, precisions, compilation, graphs, distance to the bound.

    python benchmarks/speed/gpu.py [--minutes 7.5] [--models A,B] [--weights NAME=FILE]

Unattended. Every model runs in a process of its own with its share of the time; what it has measured until then is
kept, what it has not reached is named so. Arithmetic is counted by torch, bytes are those that cannot be avoided
(weights, inputs, outputs once); the peaks are those of a matrix product and a copy in the same run. Weights are random
unless given, so a change of MPJPE is told against labels that lie 50 mm of noise off the fp32 poses. Waiting is the
part of `h36m bench` on generated frames on disk in which the network does not compute.

Evidence: benchmarks/results/gpu_<machine>.json. Without a GPU it says so and exits 0. `--device cpu --tiny` walks
through the same code on small networks; its figures are evidence of nothing and go where --out says.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from h36m_toolbox.benchmarks.speed.evidence import keep_evidence
from h36m_toolbox.benchmarks.speed.gpu_data import generated_data
from h36m_toolbox.benchmarks.speed.gpu_models import SUBJECTS, measured

MINUTES = 7.5


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=MINUTES)
    parser.add_argument("--models", help="comma-separated; all by default")
    parser.add_argument("--weights", action="append", default=[], metavar="NAME=FILE")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="small networks: a trial of this script, no evidence")
    parser.add_argument("--out", type=Path, help="write the JSON here instead")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    parser.add_argument("--data", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args(words)
    if asked.device.startswith("cuda") and not torch.cuda.is_available():
        print("no CUDA device: nothing measured")
        return
    if asked.only:
        files = dict(pair.split("=", 1) for pair in asked.weights)
        measured(asked.only, asked.device, asked.tiny, asked.data, files.get(asked.only), asked.out)
        return
    if asked.device == "cpu" and not (asked.tiny and asked.out):
        parser.error("--device cpu is a trial: give --tiny and --out FILE")
    names = asked.models.split(",") if asked.models else list(SUBJECTS)
    until = time.monotonic() + 60 * asked.minutes
    with TemporaryDirectory() as folder:
        data, problem = generated_data(Path(folder), asked.tiny)
        models = {}
        for done, name in enumerate(names):
            share = (until - time.monotonic()) / (len(names) - done)
            models[name] = _in_own_process(name, asked, data, Path(folder), max(share, 1.0))
            print(_row(name, models[name]), flush=True)
    device = torch.cuda.get_device_name(0) if asked.device.startswith("cuda") else asked.device
    found = {
        "what": "TRIAL, no evidence" if asked.tiny else "each model on one device",
        "device": device,
        "data_problem": problem,
        "models": models,
    }
    if asked.out:
        asked.out.write_text(json.dumps(found, indent=1) + "\n")
        print(f"wrote {asked.out}")
    else:
        machine = "".join(letter if letter.isalnum() else "_" for letter in device.lower())
        print(f"wrote {keep_evidence(f'gpu_{machine}', found, ('torch', 'numpy'))}")


def _in_own_process(
    name: str, asked: argparse.Namespace, data: Path | None, folder: Path, seconds: float
) -> list[dict[str, Any]]:
    """The records of one model, those up to where its time or its process ended, and how it ended."""
    lines = folder / f"{name}.jsonl"
    command = [sys.executable, __file__, "--only", name, "--device", asked.device, "--out", str(lines)]
    command += ["--tiny"] * asked.tiny + (["--data", str(data)] if data else [])
    command += [word for pair in asked.weights for word in ("--weights", pair)]
    ended = ""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
        if done.returncode:
            ended = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
    except subprocess.TimeoutExpired:
        ended = f"its {seconds:.0f} s were over; what is not listed was not reached"
    records = [json.loads(line) for line in lines.read_text().splitlines()] if lines.exists() else []
    return [*records, {"failure": ended}] if ended else records


def _row(name: str, records: list[dict[str, Any]]) -> str:
    lines = [name]
    for record in records:
        if "per_s" in record:
            lines.append(
                f"  {record['precision']:5} {record['mode']:15} {record['per_s']:12.1f} /s "
                f"{record['peak_mb']:8.0f} MB  "
                f"{record['times_the_bound']:6.1f} x the bound ({record['bound']})  "
                f"MPJPE {record['mpjpe_change']:+.4f} {record['unit']}"
            )
        elif "waiting" in record:
            lines.append(f"  waiting for data: {100 * record['waiting']:.0f} % of `h36m bench`")
        elif "failure" in record:
            where = " ".join(record[key] for key in ("precision", "mode", "step") if key in record)
            lines.append(f"  {where or 'then'}: {record['failure']}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
