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
    help="demo: 4 subjects, all actions, videos and detections; full: 7 subjects, 30 recordings, 2.1 million poses.",
)
@click.option("--subjects", type=Words(), help="Only these subjects.")
@click.option("--actions", type=Words(), help="Only these actions.")
@click.option("--frames", type=click.IntRange(2), help="Poses a recording, instead of the size's own number.")
@click.option("--videos/--no-videos", default=None, help="Film the figure.  [default: as the size says]")
@click.option("--seed", type=int, default=0, show_default=True)
@jobs_option
def command(folder: Path, size: str, jobs: int, seed: int, **changes: Any) -> None:
    """Write a synthetic Human3.6M archive in the original's own formats."""
    from h36m_toolbox.synthetic import plan_of_size, write_synthetic_archive

    plan = plan_of_size(size, seed=seed, **{name: value for name, value in changes.items() if value is not None})
    with progress_bar("synth", "rec", len(plan.recordings)) as step:
        report = write_synthetic_archive(folder, plan, jobs, step)
    click.echo(f"{folder}: {report.recordings} recordings, {report.poses:,} poses, {report.videos} videos")
