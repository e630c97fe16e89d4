"""`h36m eval`."""

from __future__ import annotations

from pathlib import Path

import click

from h36m_toolbox.commands.options import FILE, FOLDER, THERE


@click.command("eval")
@click.argument("predictions", type=FILE)
@click.option("--data", type=THERE, required=True, help="The prepared folder.")
@click.option("--protocol", default="videopose3d", show_default=True, help="How frames are scored.")
@click.option("--split", type=click.Choice(["val", "train"]), default="val", show_default=True)
@click.option("--out", type=FOLDER, help="Write report.json and per_action.csv there.")
def command(predictions: Path, data: Path, protocol: str, split: str, out: Path | None) -> None:
    """Score PREDICTIONS, a Parquet file of poses from any model, under a protocol."""
    from h36m_toolbox.benchmarks.runs import score, write_report

    report = score(predictions, data, protocol, split)
    click.echo(report.to_markdown())
    if out:
        write_report(out, report)
        click.echo(f"wrote {out / 'report.json'}, {out / 'per_action.csv'}")
