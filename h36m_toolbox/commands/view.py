"""`h36m view`."""

from __future__ import annotations

from typing import Any

import click

from h36m_toolbox.commands.options import FILE, THERE, progress_bar


@click.command("view")
@click.option("--data", type=THERE, required=True, help="The prepared folder.")
@click.option("--run", type=THERE, help="A run's folder: its predictions over the true poses.")
@click.option("--predictions", type=FILE, help="The same, from a predictions file.")
@click.option("--subject", required=True, help="S1, S5, ...")
@click.option("--action", required=True, help="Walking, TakingPhoto, ...")
@click.option("--subaction", type=click.IntRange(1, 2), default=1, show_default=True)
@click.option("--camera", default="54138969", show_default=True, help="A camera's id, or all: four views as a square.")
@click.option("--out", type=FILE, help="A name that ends in .png, .gif or .mp4.")
@click.option("--rerun", type=FILE, help="A name that ends in .rrd: a recording for the Rerun viewer.")
@click.option("--video", type=FILE, help="The sequence's video, instead of the frames in DATA.")
@click.option(
    "--size", type=click.IntRange(200, 2000), default=400, show_default=True, help="Pixels of a panel's side."
)
@click.option("--full-frame", is_flag=True, help="Show the whole camera frame, not the part where the person is.")
@click.option("--turn", type=float, default=50, show_default=True, help="Degrees from the camera's view to the 3D one.")
@click.option("--frame", type=click.IntRange(0), help="Only this one, counted from 0.")
@click.option("--skip", type=click.IntRange(0), default=0, show_default=True, help="Leave out the first N frames.")
@click.option("--downsample", type=click.IntRange(1), default=1, show_default=True, help="Each N-th frame.")
@click.option("--limit", type=click.IntRange(1), help="At most N frames.  [default: all, one for PNG]")
@click.option("--fps", type=click.FloatRange(0.1), help="Pictures a second.  [default: as fast as life]")
@click.option(
    "--bitrate", type=click.IntRange(1, 1_000_000), default=3000, show_default=True, help="Of an MP4, kbit/s."
)
def command(**request: Any) -> None:
    """A sequence with its skeletons over the frames and in 3D, a prediction over the truth: PNG, GIF or MP4."""
    from h36m_toolbox.benchmarks.pictures.viewing import ViewRequest, view

    run, predictions = request.pop("run"), request.pop("predictions")
    if run and predictions:
        raise click.UsageError("give --run or --predictions, not both")
    if not (request["out"] or request["rerun"]):
        raise click.UsageError("give --out FILE.png, .gif or .mp4, or --rerun FILE.rrd")
    if run:
        predictions = run / "predictions.parquet"
    with progress_bar("view", "frame") as step:
        lines = view(ViewRequest(predictions=predictions, **request), step)
    click.echo("\n".join(lines))
