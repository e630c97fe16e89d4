"""`h36m doctor`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from h36m_toolbox.commands.options import THERE


@click.command("doctor")
@click.argument("folder", metavar="RAW|DATA", type=THERE)
@click.option("--json", "as_json", is_flag=True, help="Findings as JSON.")
def command(folder: Path, as_json: bool) -> None:
    """What is there, missing, damaged or known to be bad. Exit status 1 where something is wrong."""
    from h36m_toolbox.doctor import examine

    findings = examine(folder)
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings], indent=1))
    else:
        for finding in findings:
            click.echo(f"{finding.level:8} {finding.where:24} {finding.what}")
    if any(finding.level == "problem" for finding in findings):
        raise click.exceptions.Exit(1)
