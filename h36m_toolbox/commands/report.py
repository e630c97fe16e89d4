"""`h36m report`."""

from __future__ import annotations

from pathlib import Path

import click

from h36m_toolbox.commands.options import FILE, THERE, progress_bar


@click.command("report")
@click.argument("runs", type=THERE, nargs=-1, required=True, metavar="RUN [RUN ...]")
@click.option("--data", type=THERE, required=True, help="The prepared folder that the runs were scored on.")
@click.option("--out", type=FILE, help="The page.  [default: RUN/report.html, for a single run]")
def command(runs: tuple[Path, ...], data: Path, out: Path | None) -> None:
    """One self-contained HTML page of one run, or of several side by side: figures, charts, worst frames in 2D and 3D.

    RUN is a folder that `h36m bench` or `h36m eval --runs` wrote.
    """
    if len(runs) > 1 and out is None:
        raise click.UsageError("several runs in one page: say where it goes with --out FILE.html")
    from h36m_toolbox.benchmarks.page.report import write_html_report

    with progress_bar("report", "run", len(runs)) as step:
        page = write_html_report(runs, data, out, step)
    click.echo(f"wrote {page}: {page.stat().st_size:,} bytes, {len(runs)} run{'s' if len(runs) > 1 else ''}")
