"""`h36m compare`."""

from __future__ import annotations

from pathlib import Path

import click

from h36m_toolbox.commands.options import THERE


@click.command("compare")
@click.argument("runs", type=THERE, nargs=-1, required=True, metavar="RUN RUN [RUN ...]")
@click.option("--data", type=THERE, help="The prepared folder.  [default: where the first run was made]")
@click.option("--resamples", type=click.IntRange(100), default=10_000, show_default=True, help="Draws of recordings.")
@click.option(
    "--confidence",
    type=click.FloatRange(0, 100, min_open=True, max_open=True),
    default=95,
    show_default=True,
    help="Percent of the interval.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the draws.")
@click.option("--json", "as_json", is_flag=True, help="Everything as JSON.")
def command(
    runs: tuple[Path, ...], data: Path | None, resamples: int, confidence: float, seed: int, as_json: bool
) -> None:
    """Whether each other RUN differs from the first: paired differences, intervals, p-values, per action and joint.

    RUN is a folder of `h36m bench` or `h36m eval`; protocol and frames must agree. Chance is estimated by drawing
    recordings again, each with all its frames and views: frames of one recording are not independent.
    """
    import numpy as np

    from h36m_toolbox.benchmarks.standings.comparison import compare_runs
    from h36m_toolbox.benchmarks.standings.comparison_texts import comparisons_as_json, comparisons_as_markdown

    if len(runs) < 2:
        raise click.UsageError("give two runs or more; the others are compared with the first")
    found = compare_runs(runs, np.random.default_rng(seed), data, resamples, confidence / 100)
    click.echo(comparisons_as_json(found) if as_json else comparisons_as_markdown(found))
