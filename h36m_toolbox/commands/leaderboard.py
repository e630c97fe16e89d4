"""`h36m leaderboard`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from h36m_toolbox.commands.options import FOLDER


@click.command("leaderboard")
@click.option("--runs", type=FOLDER, default=Path("runs"), show_default=True, help="The folder with leaderboard.csv.")
@click.option("--protocol", default="", help="Only this protocol.")
@click.option("--model", default="", help="Only this model.")
@click.option("--detections", default="", help="Only this 2D input: gt, cpn, sh or a name of yours.")
@click.option("--split", type=click.Choice(["val", "train", "test"]), help="Only this split; test: of MPI-INF-3DHP.")
@click.option("--published", is_flag=True, help="Published figures beside yours, each with its source.")
@click.option("--per-action", is_flag=True, help="A column for each action.")
@click.option(
    "--format",
    "format_",
    type=click.Choice(["table", "csv", "markdown", "latex"]),
    default="table",
    show_default=True,
    help="How to print; LaTeX has the best bold and the second underlined.",
)
def command(runs: Path, split: str | None, format_: str, **choice: Any) -> None:
    """Scored runs, ranked within one protocol, version and list of frames only.

    Runs that do not cover their protocol, and folders that are unfinished or were edited, are shown without a place.
    """
    from h36m_toolbox.benchmarks.standings.ranking_texts import leaderboard_as_text
    from h36m_toolbox.benchmarks.standings.rankings import Choice, leaderboard_of

    found = leaderboard_of(runs, Choice(split=split or "", **choice))
    for remark in found.remarks:
        click.echo(remark, err=True)
    click.echo(leaderboard_as_text(found, format_, choice["per_action"]), nl=False)
