"""`h36m crops`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from h36m_toolbox.commands.options import FILE, THERE, Words, jobs_option, progress_bar, writes


@click.command("crops")
@click.argument("data", metavar="DATA", type=THERE)
@click.option(
    "--crop",
    "rule",
    type=click.Choice(("poseformer", "views")),
    default="poseformer",
    show_default=True,
    help="ca-poseformer's, or those of the models that see several views.",
)
@click.option("--labels", type=FILE, help="Of views, the multi-view label table, if not DATA/labels/multiview/...")
@click.option("--every", type=click.IntRange(1), default=1, show_default=True, help="Each n-th labelled frame.")
@click.option("--subjects", type=Words(), help="Only these subjects, such as S9,S11.")
@jobs_option
@writes("images")
def command(
    data: Path, rule: str, labels: Path | None, every: int, subjects: tuple[str, ...] | None, jobs: Any
) -> None:
    """Crops that a model sees, cut from the frames in DATA and kept without loss.

    Models take them by themselves and give the same numbers; images are read many times as fast.
    """
    from h36m_toolbox.crops.making import CropRecipe, crop_lines, make_crops
    from h36m_toolbox.crops.poseformer import POSEFORMER_CROPS, boxes_of_data
    from h36m_toolbox.crops.poseformer import cutter as poseformer_cutter
    from h36m_toolbox.crops.views import VIEW_CROPS, boxes_of_label_table
    from h36m_toolbox.crops.views import cutter as view_cutter
    from h36m_toolbox.frames.stores import WHOLE_FRAMES
    from h36m_toolbox.sequences import SUBJECTS
    from h36m_toolbox.views.samples import STORES

    if rule == "views":
        recipe = CropRecipe(VIEW_CROPS, STORES, view_cutter, every)
        boxes = boxes_of_label_table(data, subjects or SUBJECTS, labels)
    elif labels:
        raise click.UsageError("--labels goes with --crop views")
    else:
        recipe = CropRecipe(POSEFORMER_CROPS, (WHOLE_FRAMES,), poseformer_cutter, every)
        boxes = boxes_of_data(data, subjects or SUBJECTS)
    with progress_bar("crops", total=len(boxes)) as step:
        outcomes = make_crops(data, recipe, boxes, jobs, step)
    click.echo("\n".join(crop_lines(outcomes, data, recipe.store)))
    if any(outcome.state == "failed" for outcome in outcomes):
        raise click.exceptions.Exit(1)
