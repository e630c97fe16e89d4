"""`h36m synth`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from h36m_toolbox.commands.options import FOLDER, Words, jobs_option, progress_bar


@click.command("synth")
@click.argument("folder", metavar="DIR", type=FOLDER)
@click.option(
    "--size",
    type=click.Choice(["demo", "full"]),
    default="demo",
    show_default=True,
    help="demo: 3 subjects, all actions, videos and detections; full: 7 subjects, 30 recordings, 2.1 million poses.",
)
@click.option("--subjects", type=Words(), help="Only these subjects.")
@click.option("--actions", type=Words(), help="Only these actions.")
@click.option(
    "--subaction",
    "subactions",
    type=click.IntRange(1, 2),
    callback=lambda ctx, param, number: None if number is None else (number,),
    help="Only this recording of each action.",
)
@click.option("--frames", type=click.IntRange(2), help="Poses a recording, instead of the size's own number.")
@click.option("--videos/--no-videos", default=None, help="Film the figure.  [default: as the size says]")
@click.option("--masks/--no-masks", default=None, help="Segment masks, for boxes.  [default: as the size says]")
@click.option(
    "--data-set",
    type=click.Choice(("human3.6m", "mpi-inf-3dhp")),
    default="human3.6m",
    show_default=True,
    help="mpi-inf-3dhp: one training sequence and the six of the test set, 12 frames each.",
)
@click.option("--seed", type=int, default=0, show_default=True)
@jobs_option
def command(folder: Path, size: str, data_set: str, jobs: int, seed: int, **changes: Any) -> None:
    """Write a synthetic Human3.6M archive in the original's own formats."""
    if data_set == "mpi-inf-3dhp":
        if size != "demo" or any(value is not None for value in changes.values()):
            raise click.UsageError("--data-set mpi-inf-3dhp has one size; of the other options it takes --seed")
        _write_mpi_inf_3dhp(folder, seed)
        return
    from h36m_toolbox.synthetic.archive import plan_of_size, write_synthetic_archive

    plan = plan_of_size(size, seed=seed, **{name: value for name, value in changes.items() if value is not None})
    with progress_bar("synth", "rec", len(plan.recordings)) as step:
        report = write_synthetic_archive(folder, plan, jobs, step)
    click.echo(f"{folder}: {report.recordings} recordings, {report.poses:,} poses, {report.videos} videos")


def _write_mpi_inf_3dhp(folder: Path, seed: int) -> None:
    import numpy as np

    from h36m_toolbox.mpi_inf_3dhp.synthetic import SyntheticPlan, write_synthetic_3dhp

    plan = SyntheticPlan()
    write_synthetic_3dhp(folder, np.random.default_rng(seed), plan)
    click.echo(f"{folder}: {len(plan.train)} training and {len(plan.test)} test sequences of {plan.frames} frames")
