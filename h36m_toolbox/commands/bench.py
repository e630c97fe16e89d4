"""`h36m bench`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from h36m_toolbox.commands.options import FILE, data_options, model_options


@click.command("bench")
@click.option("--model", required=True, help="One of `h36m models`.")
@data_options
@click.option("--weights", type=FILE, help="A checkpoint: the authors' or ours.")
@click.option("--untrained", is_flag=True, help="Run with random weights instead; the row says so.")
@click.option("--protocol", default="semgcn", show_default=True, help="How frames are scored; see `h36m protocols`.")
@click.option("--split", type=click.Choice(["val", "train"]), default="val", show_default=True)
@click.option("--batch-size", type=click.IntRange(1), default=4096, show_default=True)
@model_options
def command(weights: Path | None, untrained: bool, detections: str | None, runs: Path, **request: Any) -> None:
    """Run a model and score it: RUNS/<run>/{predictions.parquet,report.json,per_action.csv} and a leaderboard row.

    On several GPUs, processes or machines: torchrun --nproc-per-node=N -m h36m_toolbox bench ...
    """
    from h36m_toolbox.benchmarks.runs import BenchRequest
    from h36m_toolbox.benchmarks.runs import bench as run_bench
    from h36m_toolbox.models.processes import joined

    if (weights is None) != untrained:
        raise click.UsageError("give --weights FILE (see `h36m models`), or --untrained for random weights")
    with joined(os.environ) as processes:
        result = run_bench(BenchRequest(weights=weights, detections=detections or "gt", **request), runs, processes)
    if result:
        click.echo(result.report.summary())
        click.echo(f"wrote {result.folder}, a row in {runs / 'leaderboard.csv'}")
