"""`h36m pelvis`."""

from __future__ import annotations

from pathlib import Path

import click

from h36m_toolbox.commands.options import FILE, THERE, progress_bar, writes


@click.command("pelvis")
@click.argument("data", metavar="DATA", type=THERE)
@click.option("--detections", metavar="NAME", help="Triangulate DATA/detections/NAME.parquet: gt, cpn, sh, NAME.")
@click.option(
    "--method", type=click.Choice(["dlt", "ransac"]), default="dlt", show_default=True, help="How to triangulate."
)
@click.option("--refine", is_flag=True, help="After ransac, least squares on the reprojection (slow).")
@click.option("--seed", type=int, default=0, show_default=True, help="Of ransac's draws.")
@click.option(
    "--predictions",
    metavar="RUN|FILE",
    type=click.Path(path_type=Path),
    help="Absolute poses of a run, over its views.",
)
@click.option("--results", type=FILE, help="An official results pickle (keypoints_3d, indexes).")
@click.option("--labels", type=FILE, help="The multi-view label table, if not DATA/labels/multiview/...")
@click.option("--split", type=click.Choice(["train", "val"]), help="Of --results, where their number does not tell.")
@click.option(
    "--format",
    "format_",
    type=click.Choice(["parquet", "pkl"]),
    default="parquet",
    show_default=True,
    help="pkl: also the pickle that ContextPose reads.",
)
@click.option("--allow-missing", is_flag=True, help="In the pickle, rows without an estimate are NaN.")
@writes("pelvis")
def command(
    data: Path,
    detections: str | None,
    method: str,
    refine: bool,
    seed: int,
    predictions: Path | None,
    results: Path | None,
    labels: Path | None,
    split: str | None,
    format_: str,
    allow_missing: bool,
) -> None:
    """Pelvis positions, one an instant: DATA/pelvis/{train,val}.parquet, from detections, a run or official results."""
    import numpy as np

    from h36m_toolbox.formats.multiview import label_table_path
    from h36m_toolbox.pelvis.estimates import pelvis_errors, write_pelvis
    from h36m_toolbox.pelvis.results import pelvis_of_results, write_results
    from h36m_toolbox.pelvis.sources import pelvis_of_detections, pelvis_of_predictions

    if (detections is not None) + (predictions is not None) + (results is not None) != 1:
        raise click.UsageError("give one of --detections, --predictions and --results")
    if split and not results:
        raise click.UsageError("--split tells which rows --results has; other sources say it themselves")
    labels = labels or label_table_path(data)
    if predictions:
        source, estimates = pelvis_of_predictions(predictions)
    elif results:
        source, estimates = pelvis_of_results(results, labels, split)
    else:
        source, estimates = pelvis_of_detections(data, str(detections), np.random.default_rng(seed), method, refine)
    with progress_bar("pelvis", "recording") as step:
        report = write_pelvis(data, source, estimates, step)
    click.echo("\n".join(report.lines()))
    for name in report.paths:
        errors = pelvis_errors(data, name)
        click.echo("\n".join(errors.lines()) if errors else f"{name}: no ground truth in {data} to compare with")
    if format_ == "pkl":
        for name in report.paths:
            written = write_results(data, name, labels, allow_missing)
            click.echo(f"{written.rows:,} rows in {written.path}, {written.without:,} without an estimate (NaN)")
