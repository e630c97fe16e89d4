"""`h36m bench`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import click

from h36m_toolbox.commands.options import (
    FILE,
    Words,
    arguments_as_given,
    data_options,
    execution_options,
    model_options,
)


@click.command("bench")
@click.option("--model", required=True, help="One of `h36m models`.")
@click.option(
    "--dataset",
    type=click.Choice(["human3.6m", "mpi-inf-3dhp"]),
    default="human3.6m",
    show_default=True,
    help="What to score on; mpi-inf-3dhp: its test set, by its own evaluation.",
)
@data_options
@click.option("--weights", type=FILE, help="A checkpoint: the authors' or ours.")
@click.option("--untrained", is_flag=True, help="Run with random weights instead; the row says so.")
@click.option("--backbone", help="Of ca-poseformer: hrnet_32, hrnet_48 or cpn.  [default: hrnet_32]")
@click.option("--pelvis", metavar="FILE|gt", help="Official results pickle, for DATA/pelvis; gt: the true pelvis.")
@click.option("--stats", "statistics", type=FILE, help="Limb lengths (h5), if not those in DATA/stats.")
@click.option("--labels", type=FILE, help="Multi-view label table, if not DATA/labels/multiview/...")
@click.option(
    "--protocol",
    default="",
    show_default="semgcn, or what the model is published under",
    help="How frames are scored; see `h36m protocols`.",
)
@click.option("--split", type=click.Choice(["val", "train"]), default="val", show_default=True)
@click.option("--test-subjects", type=Words(), default=(), help="Score these of the split only, such as S9.")
@click.option("--actions", type=Words(), default=(), help="Score these only, such as Walking,Eating.")
@click.option("--every", type=click.IntRange(1), default=1, show_default=True, help="Score one in N frames.")
@click.option("--flip", is_flag=True, help="Average the poses of each input and of its mirror image.")
@click.option("--ensemble", type=FILE, multiple=True, help="Weights of one more model to average with; repeatable.")
@click.option("--resume", is_flag=True, help="Keep a finished run of the same request instead of running again.")
@click.option("--batch-size", type=click.IntRange(1), help="[default: what suits the device]")
@execution_options
@model_options
def command(
    weights: Path | None,
    untrained: bool,
    detections: str | None,
    backbone: str | None,
    pelvis: str | None,
    statistics: Path | None,
    labels: Path | None,
    runs: Path,
    **request: Any,
) -> None:
    """Run a model and score it: a folder RUNS/<run> with predictions and reports, and a leaderboard row.

    With --test-subjects, --actions or --every the protocol has a name of its own and never ranks with the whole one.
    On several GPUs, processes or machines: torchrun --nproc-per-node=N -m h36m_toolbox bench ...
    """
    from h36m_toolbox.benchmarks.runs.bench import BenchRequest
    from h36m_toolbox.benchmarks.runs.datasets import bench_on
    from h36m_toolbox.benchmarks.runs.volumetric_files import ViewFiles
    from h36m_toolbox.models.processes import joined

    if (weights is None) != untrained:
        raise click.UsageError("give --weights FILE (see `h36m models`), or --untrained for random weights")
    if backbone:
        request["options"]["backbone"] = backbone
    files = ViewFiles(pelvis, statistics, labels)
    given: dict[str, Any] = {
        "weights": weights,
        "detections": detections or "",
        "files": files,
        "arguments": arguments_as_given(),
    }
    asked = BenchRequest(**given, **request)
    with joined(os.environ) as processes, _poses(processes.is_first) as step:
        result = bench_on(asked, runs, processes, step)
    if result:
        click.echo(result.report.summary())
        click.echo(result.speed)
        did = "kept" if result.kept else "wrote"
        click.echo(f"{did} {result.folder}, a row in {runs / 'leaderboard.csv'}")


@contextmanager
def _poses(shown: bool) -> Iterator[Callable[[int, int], None]]:
    """A bar that appears with the first step, as quick runs have none."""
    from tqdm import tqdm

    with ExitStack() as stack:
        bars: list[Any] = []

        def step(finished: int, total: int) -> None:
            if not bars:
                bar = tqdm(total=total, desc="bench", unit="pose", disable=None if shown else True, file=sys.stderr)
                bars.append(stack.enter_context(bar))
            bars[0].update(finished - bars[0].n)

        yield step
