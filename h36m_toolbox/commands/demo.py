"""`h36m demo`."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from h36m_toolbox.commands.options import FOLDER, jobs_option


@click.command("demo")
@click.argument("folder", metavar="[DIR]", type=FOLDER, default=Path("demo-data"))
@click.option("--seed", type=int, default=0, show_default=True, help="Of the motion, the noise and the training.")
@jobs_option
@click.pass_context
def command(ctx: click.Context, folder: Path, seed: int, jobs: int) -> None:
    """A synthetic archive in the original's formats, then the whole flow on it."""
    from h36m_toolbox.demo import demo_commands, demo_tour

    h36m = ctx.find_root().command
    for words in demo_commands(folder, seed, jobs):
        click.secho(f"\n$ h36m {shlex.join(words)}", bold=True)
        failed = h36m.main(list(words), standalone_mode=False)
        if failed:  # an exit status, which does not raise here
            raise click.exceptions.Exit(failed)
    click.echo(f"\n{demo_tour(folder)}")
