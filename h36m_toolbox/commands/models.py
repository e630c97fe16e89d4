"""`h36m models`."""

from __future__ import annotations

import click


@click.command("models")
@click.option("--json", "as_json", is_flag=True, help="The cards as JSON.")
def command(as_json: bool) -> None:
    """Bundled models: inputs, parameters, published figures, where the authors publish the weights."""
    from h36m_toolbox.models.registry import cards_as_json, cards_as_text

    click.echo(cards_as_json() if as_json else cards_as_text())
