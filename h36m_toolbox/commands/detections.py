"""`h36m detections`."""

from __future__ import annotations

from pathlib import Path

import click

from h36m_toolbox.commands.options import FILE, FOLDER, NamedFile, progress_bar, say_unpacked, writes


@click.command("detections")
@click.argument("raw", metavar="RAW", type=click.Path(path_type=Path))
@click.option("--out", "data", metavar="DATA", type=FOLDER, required=True, help="The prepared folder.")
@click.option("--cpn", type=FILE, help="data_2d_h36m_cpn_ft_h36m_dbb.npz.")
@click.option("--sh", type=FILE, help="Stacked hourglass: the tar.gz of h5 files, h36m.zip, or data_2d_h36m_sh_*.npz.")
@click.option(
    "--add",
    "added",
    type=NamedFile(),
    multiple=True,
    help="Any of these formats, or a .parquet or .csv of your own (see datasets.md), under your name. Repeatable.",
)
@click.option(
    "--npz",
    "exported",
    metavar="NAME",
    multiple=True,
    help="Write bundled detections also as VideoPose3D's DATA/detections/data_2d_h36m_NAME.npz. Repeatable.",
)
@click.option("--detector", help="Run a 2D network over the frames in DATA too: hrnet_32 or hrnet_48; with --weights.")
@click.option("--weights", type=FILE, help="Of the detector, as pose_hrnet_w32_256x192.pth.")
@click.option("--heads", default="coco", show_default=True, help="Its 17 heat maps: coco, or h36m in our order.")
@click.option("--name", "table", help="Of the detector's table.  [default: the detector]")
@click.option("--every", type=click.IntRange(1), default=1, show_default=True, help="Detect in each n-th frame.")
@click.option("--device", default="auto", show_default=True, help="Of the detector: cpu, cuda, ...")
@writes("detections")
def command(
    raw: Path,
    data: Path,
    added: tuple[tuple[str, Path], ...],
    exported: tuple[str, ...],
    detector: str | None,
    weights: Path | None,
    heads: str,
    table: str | None,
    every: int,
    device: str,
    **named: Path | None,
) -> None:
    """Bundle 2D detections: DATA/detections/{gt,cpn,sh,NAME}.parquet. Ground truth always, others from their files.

    With --detector also those of a network, run over the labelled frames that lie in DATA.
    """
    from h36m_toolbox.detections.bundles import bundle_detections
    from h36m_toolbox.formats.positions_npz import positions_2d_path, write_positions_2d
    from h36m_toolbox.raw.archive import POSE_KINDS
    from h36m_toolbox.raw.inputs import open_raw

    files = {name: path for name, path in named.items() if path}
    for name, path in added:
        if name == "gt" or name in files:
            raise click.UsageError(f"--add {name}={path}: there is a {name} already; choose another name")
        files[name] = path
    table = table or detector or ""
    if (detector is None) != (weights is None):
        raise click.UsageError("give --detector and --weights together")
    if table == "gt" or table in files:
        raise click.UsageError(f"there is a {table} already; choose another --name")
    archive = open_raw(raw, data, POSE_KINDS, progress=say_unpacked)
    with progress_bar("detections") as step:
        reports = bundle_detections(archive, data, files, step)
    for report in reports.values():
        click.echo("\n".join(report.lines()))
    if detector and weights:
        from h36m_toolbox.models.devices import device_named
        from h36m_toolbox.models.keypoint_detection import detect

        with progress_bar(detector) as step:
            report = detect(data, table, detector, weights, heads, every, device_named(device), step)
        click.echo("\n".join(report.lines()))
    for name in dict.fromkeys(exported):
        with progress_bar(f"npz {name}") as step:
            count = write_positions_2d(data, name, positions_2d_path(data, name), step)
        click.echo(f"{count} sequences in {positions_2d_path(data, name)}")
