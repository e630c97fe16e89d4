"""`h36m doctor`."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command("doctor")
@click.argument("folder", metavar="RAW|DATA", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--checksums", is_flag=True, help="Read archives to their ends and compare their md5 with the public list."
)
@click.option("--json", "as_json", is_flag=True, help="The table and the findings as JSON.")
def command(folder: Path, checksums: bool, as_json: bool) -> None:
    """What is there, missing, damaged or known to be bad. Exit status 1 where something is wrong."""
    from h36m_toolbox.doctor.diagnosis import examine

    found = examine(folder, checksums)
    click.echo(json.dumps(found.record(), indent=1) if as_json else "\n".join(found.lines()))
    if found.has_problems:
        raise click.exceptions.Exit(1)
