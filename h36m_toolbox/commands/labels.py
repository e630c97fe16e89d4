"""`h36m labels`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from h36m_toolbox.commands.options import FOLDER, progress_bar, say_unpacked, workers_option, writes

_FORMATS = ("parquet", "toolbox", "poseformer", "videopose3d", "h36m-fetch", "multiview", "mmpose", "integral")
_FPS = ("50", "25", "10", "5", "2", "1")


@click.command("labels")
@click.argument("raw", metavar="RAW", type=click.Path(path_type=Path))
@click.option("--out", "data", metavar="DATA", type=FOLDER, required=True, help="The prepared folder.")
@click.option(
    "--format",
    "formats",
    type=click.Choice(_FORMATS),
    multiple=True,
    default=("parquet",),
    show_default=True,
    help="Repeatable.",
)
@click.option("--without-images", is_flag=True, help="In pickles, list also poses whose image is not in DATA/images.")
@click.option("--detections", metavar="NAME", help="poseformer: which bundled 2D detections.  [default: cpn]")
@click.option(
    "--test-step",
    type=click.IntRange(1),
    help="h36m-fetch, multiview: test subjects' every N-th frame.  [default: 64]",
)
@click.option(
    "--mmpose-fps", type=click.Choice(_FPS), multiple=True, help="mmpose: frame rate. Repeatable.  [default: 50, 10]"
)
@click.option("--mmpose-misaligned", is_flag=True, help="mmpose: image names beside the wrong rows, as officially.")
@click.option(
    "--images",
    type=click.Choice(["decode", "link"]),
    help="mmpose: also the frames; decode as mmpose does, or link those in DATA/images.",
)
@workers_option
@writes("labels", "formats")
def command(raw: Path, data: Path, formats: tuple[str, ...], jobs: Any, **switches: Any) -> None:
    """CDF poses to labels: DATA/labels/FORMAT/..."""
    from h36m_toolbox.archive import POSE_KINDS
    from h36m_toolbox.formats import FormatOptions, unused_options, write_format
    from h36m_toolbox.raw_inputs import open_raw

    given = {name: value for name, value in switches.items() if value}
    unused = [f"--{name.replace('_', '-')}" for name in unused_options(formats, given)]
    if unused:
        raise click.UsageError(f"{', '.join(unused)}: of no use to --format {', '.join(formats)}")
    if "mmpose_fps" in given:
        given["mmpose_fps"] = tuple(map(int, dict.fromkeys(given["mmpose_fps"])))
    options = FormatOptions(**given)
    archive = open_raw(raw, data, POSE_KINDS, progress=say_unpacked)
    damaged = False
    for format_ in dict.fromkeys(formats):
        with progress_bar(f"labels {format_}") as step:
            report = write_format(format_, archive, data, options, jobs, step)
        click.echo("\n".join(report.lines()))
        damaged = damaged or report.damaged
    if damaged:
        raise click.exceptions.Exit(1)
