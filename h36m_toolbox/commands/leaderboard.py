"""`h36m leaderboard`."""

from __future__ import annotations

from pathlib import Path

import click

from h36m_toolbox.commands.options import FOLDER


@click.command("leaderboard")
@click.option("--runs", type=FOLDER, default=Path("runs"), show_default=True, help="The folder with leaderboard.csv.")
@click.option("--protocol", help="Only this protocol.")
def command(runs: Path, protocol: str | None) -> None:
    """Scored runs, ranked protocol by protocol."""
    from h36m_toolbox.benchmarks.leaderboard import ranked_table, read_leaderboard

    click.echo(ranked_table(read_leaderboard(runs / "leaderboard.csv"), protocol))
