"""`h36m labels`."""

from __future__ import annotations

from pathlib import Path

import click

from h36m_toolbox.commands.options import FOLDER, jobs_option, progress_bar, say_unpacked


@click.command("labels")
@click.argument("raw", metavar="RAW", type=FOLDER)
@click.option("--out", "data", metavar="DATA", type=FOLDER, required=True, help="The prepared folder.")
@click.option(
    "--format",
    "formats",
    type=click.Choice(["parquet", "toolbox", "poseformer", "videopose3d", "h36m-fetch", "multiview", "mmpose"]),
    multiple=True,
    default=("parquet",),
    show_default=True,
    help="Repeatable.",
)
@click.option("--without-images", is_flag=True, help="In pickles, list also poses whose image is not in DATA/images.")
@jobs_option
def command(raw: Path, data: Path, formats: tuple[str, ...], without_images: bool, jobs: int) -> None:
    """CDF poses to labels: DATA/labels/FORMAT/..."""
    from h36m_toolbox.archive import POSE_KINDS
    from h36m_toolbox.formats import write_format
    from h36m_toolbox.raw_inputs import open_raw

    archive = open_raw(raw, data, POSE_KINDS, progress=say_unpacked)
    damaged = False
    for format_ in dict.fromkeys(formats):
        with progress_bar(f"labels {format_}") as step:
            report = write_format(format_, archive, data, without_images, jobs, step)
        click.echo("\n".join(report.lines()))
        damaged = damaged or report.damaged
    if damaged:
        raise click.exceptions.Exit(1)
