"""`h36m protocols`."""

from __future__ import annotations

import click


@click.command("protocols")
def command() -> None:
    """Evaluation protocols with every switch written out."""
    from h36m_toolbox.benchmarks.protocols import protocols_as_text

    click.echo(protocols_as_text())
