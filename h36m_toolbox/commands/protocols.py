"""`h36m protocols`."""

from __future__ import annotations

import click


@click.command("protocols")
def command() -> None:
    """Evaluation protocols with every switch and the official frames; docs/protocols.md argues about them."""
    from h36m_toolbox.benchmarks.manifests import protocols_as_text
    from h36m_toolbox.benchmarks.mpi_inf_3dhp.protocols import mpi_inf_3dhp_protocols_as_text

    click.echo(protocols_as_text())
    click.echo(f"\n{mpi_inf_3dhp_protocols_as_text()}")
