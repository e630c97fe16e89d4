"""`h36m stats`."""

from __future__ import annotations

from pathlib import Path

import click

from h36m_toolbox.commands.options import THERE, writes


@click.command("stats")
@click.argument("data", metavar="DATA", type=THERE)
@click.option(
    "--select",
    "selection",
    type=click.Choice(["h36m-fetch", "all"]),
    default="h36m-fetch",
    show_default=True,
    help="Instants: those h36m-fetch keeps (ContextPose's figures) or all.",
)
@writes("stats")
def command(data: Path, selection: str) -> None:
    """Limb-length mean and standard deviation of the training set."""
    from h36m_toolbox.limb_lengths import statistics_table, training_limb_lengths, write_limb_statistics

    by_subject = training_limb_lengths(data, selection)
    click.echo(statistics_table(by_subject))
    for path in write_limb_statistics(data, by_subject):
        click.echo(f"wrote {path}")
