"""Seconds from process start of `h36m --help` and of `h36m bench` of lifters on the whole test set, beside their floor.

    python benchmarks/speed/lifters.py [--models martinez,semgcn]

The 550,644 poses of S9 and S11 are made by `h36m synth`. The floor are the matrix products of the network as the bench
runs it, recorded and then run alone, with the same shapes, on all cores, before and after the bench: no float32
implementation of these products can be faster. What the bench takes beyond is all that a lifter needs besides: start,
imports, reading, scoring, writing. Evidence goes to benchmarks/results/lifters.json.
"""

from __future__ import annotations

import argparse
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from h36m_toolbox.benchmarks.speed.evidence import keep_evidence
from h36m_toolbox.benchmarks.speed.processes import cost, h36m
from h36m_toolbox.benchmarks.speed.products import Product, products_of
from h36m_toolbox.models import create_model
from h36m_toolbox.models.folded_lifters import Foldable

POSES = 543_344  # that protocol semgcn scores
GOAL_S, HELP_GOAL_S = 30.0, 0.3
_FLOOR_S = 3.0  # of products alone, before a bench and after it


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default="martinez,semgcn")
    asked = parser.parse_args()
    helped = [cost(h36m("--help")) for _ in range(5)]
    help_s = min(each.wall_s for each in helped)
    print(f"h36m --help: {help_s:.2f} s (aim {HELP_GOAL_S})", flush=True)
    found: dict[str, Any] = {}
    with TemporaryDirectory() as folder:
        raw, data = Path(folder) / "raw", Path(folder) / "data"
        cost(h36m("synth", raw, "--size", "full", "--subjects", "S9,S11"))
        cost(h36m("labels", raw, "--out", data))
        cost(h36m("detections", raw, "--out", data))
        for name in asked.models.split(","):
            found[name] = _beside_its_floor(name, data, Path(folder) / "runs")
            _tell(name, found[name])
    evidence = {
        "claim": "h36m --help under 0.3 s; bench of a lifter on 543,344 poses under 30 s from process start",
        "help_s": help_s,
        "help_samples_s": [each.wall_s for each in helped],
        "models": found,
    }
    print(f"wrote {keep_evidence('lifters', evidence, ('torch', 'numpy', 'pyarrow'))}")


def _beside_its_floor(name: str, data: Path, runs: Path) -> dict[str, Any]:
    """The bench of a model from process start, and its products alone for as many poses."""
    network = create_model(name).eval()
    assert isinstance(network, Foldable)
    folded = network.folded()
    assert folded is not None
    products = products_of(lambda: folded(torch.zeros(folded.batch, 16, 2)))
    with torch.no_grad():
        original = products_of(lambda: network(torch.zeros(2, 16, 2)))
    before = _floor(products, folded.batch)
    bench = cost(h36m("bench", "--model", name, "--untrained", "--data", data, "--runs", runs))
    floors = [before, _floor(products, folded.batch)]
    floor = {key: statistics.mean(each[key] for each in floors) for key in before}
    return {
        "bench": asdict(bench),
        "floor": floor,
        "floors": floors,
        "beyond_the_floor": {key: getattr(bench, key) - floor[key] for key in ("wall_s", "cpu_s")},
        "flop_a_pose": sum(each.flop for each in products) / folded.batch,
        "flop_a_pose_of_the_network_as_published": sum(each.flop for each in original) / 2,
    }


def _floor(products: list[Product], batch: int) -> dict[str, float]:
    """Wall and CPU seconds of the products of POSES poses on all cores, one thread each, from a few seconds of them."""
    cores = torch.get_num_threads()
    until = time.perf_counter() + _FLOOR_S

    def work(_: int) -> tuple[int, float]:
        torch.set_num_threads(1)  # holds for this thread
        held: dict[Any, torch.Tensor] = {}
        ready = [each.ready(held) for each in products]
        done, start = 0, time.thread_time()
        while not done or time.perf_counter() < until:
            for product in ready:
                product()
            done += batch
        return done, time.thread_time() - start

    start = time.perf_counter()
    with ThreadPoolExecutor(cores) as pool:
        poses, cpu_s = map(sum, zip(*pool.map(work, range(cores)), strict=True))
    wall_s = time.perf_counter() - start
    torch.set_num_threads(cores)
    flop = POSES / batch * sum(each.flop for each in products)
    floor = {"wall_s": wall_s * POSES / poses, "cpu_s": cpu_s * POSES / poses}
    return {**floor, "flop_per_cpu_s": flop / floor["cpu_s"]}


def _tell(name: str, found: dict[str, Any]) -> None:
    bench, floor, beyond = found["bench"], found["floor"], found["beyond_the_floor"]
    print(
        f"{name}: {bench['wall_s']:.1f} s (aim {GOAL_S:.0f}), {bench['cpu_s']:.1f} CPU s, {bench['peak_mb']} MB\n"
        f"  its products alone: {floor['wall_s']:.1f} s, {floor['cpu_s']:.1f} CPU s at "
        f"{floor['flop_per_cpu_s'] / 1e9:.0f} GFLOP/s a core, {found['flop_a_pose'] / 1e6:.1f} MFLOP a pose "
        f"(as published {found['flop_a_pose_of_the_network_as_published'] / 1e6:.1f})\n"
        f"  all the rest: {beyond['wall_s']:.1f} s, {beyond['cpu_s']:.1f} CPU s",
        flush=True,
    )
    if bench["wall_s"] > GOAL_S:
        least = floor["wall_s"]
        held = "the products alone take longer" if least > GOAL_S else f"{GOAL_S - least:.1f} s are left for the rest"
        print(f"  misses the aim by {bench['wall_s'] - GOAL_S:.1f} s: on this machine now {held}")


if __name__ == "__main__":
    main()
