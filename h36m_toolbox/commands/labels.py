"""`h36m labels`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from h36m_toolbox.commands.options import FOLDER, progress_bar, say_unpacked, workers_option, writes

_FORMATS = (
    "parquet",
    "toolbox",
    "poseformer",
    "videopose3d",
    "h36m-fetch",
    "multiview",
    "mmpose",
    "integral",
    "lifting",
)
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
@click.option("--cameras", metavar="SET|N,N", help="MPI-INF-3DHP: training cameras.  [default: vnect]")
@click.option("--every", type=click.IntRange(1), help="MPI-INF-3DHP: each n-th training frame.  [default: 1]")
@click.option(
    "--crops",
    type=click.Choice(("corrected", "published", "none")),
    help="lifting: pixels in crops; published repeats an error of camera rows.  [default: corrected]",
)
@workers_option
@writes("labels", "formats")
def command(raw: Path, data: Path, formats: tuple[str, ...], jobs: Any, **switches: Any) -> None:
    """CDF poses to labels: DATA/labels/FORMAT/...

    Of MPI-INF-3DHP: parquet and lifting (data_train_3dhp.npz and data_test_3dhp.npz), below DATA/mpi-inf-3dhp.
    """
    from h36m_toolbox.formats.registry import FormatOptions, unused_options, write_format
    from h36m_toolbox.mpi_inf_3dhp.archive import find_archive
    from h36m_toolbox.raw.archive import POSE_KINDS
    from h36m_toolbox.raw.inputs import open_raw

    given = {name: value for name, value in switches.items() if value}
    other = find_archive(raw)
    _refuse_stray(other is not None, formats, given)
    if other:
        _write_mpi_inf_3dhp(other, data, formats, given, jobs)
        return
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


def _refuse_stray(is_mpi_inf_3dhp: bool, formats: tuple[str, ...], given: dict[str, Any]) -> None:
    """Options of the other data set are bad usage."""
    own = {name for name in given if name in ("cameras", "every", "crops")}
    stray = [f"--{name.replace('_', '-')}" for name in sorted(set(given) - own if is_mpi_inf_3dhp else own)]
    if not is_mpi_inf_3dhp and "lifting" in formats:
        stray.append("--format lifting")
    if stray:
        which = "Human3.6M" if is_mpi_inf_3dhp else "MPI-INF-3DHP"
        raise click.UsageError(f"{', '.join(stray)}: only for {which}, which RAW is not")


def _write_mpi_inf_3dhp(archive: Any, data: Path, formats: tuple[str, ...], given: dict[str, Any], jobs: Any) -> None:
    from h36m_toolbox.mpi_inf_3dhp.preparation import LabelChoice, write_format

    damaged = False
    for format_ in dict.fromkeys(formats):
        with progress_bar(f"labels {format_}") as step:
            written = write_format(format_, archive, data, LabelChoice(**given), jobs, step)
        click.echo("\n".join(written.lines))
        damaged = damaged or written.damaged
    if damaged:
        raise click.exceptions.Exit(1)
