"""`h36m crops`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from h36m_toolbox.commands.options import THERE, Words, jobs_option, progress_bar, writes


@click.command("crops")
@click.argument("data", metavar="DATA", type=THERE)
@click.option("--every", type=click.IntRange(1), default=1, show_default=True, help="Each n-th labelled frame.")
@click.option("--subjects", type=Words(), help="Only these subjects, such as S9,S11.")
@jobs_option
@writes("images")
def command(data: Path, every: int, subjects: tuple[str, ...] | None, jobs: Any) -> None:
    """Crops that a model sees, cut from the frames in DATA and kept without loss.

    ca-poseformer takes them by itself and gives the same numbers; its images are read many times as fast.
    """
    from h36m_toolbox.crops.making import CropRecipe, crop_lines, make_crops
    from h36m_toolbox.crops.poseformer import POSEFORMER_CROPS, boxes_of_data, cut
    from h36m_toolbox.frames.stores import WHOLE_FRAMES
    from h36m_toolbox.sequences import SUBJECTS

    recipe = CropRecipe(POSEFORMER_CROPS, (WHOLE_FRAMES,), cut, every)
    boxes = boxes_of_data(data, subjects or SUBJECTS)
    with progress_bar("crops", total=len(boxes)) as step:
        outcomes = make_crops(data, recipe, boxes, jobs, step)
    click.echo("\n".join(crop_lines(outcomes, data, recipe.store)))
    if any(outcome.state == "failed" for outcome in outcomes):
        raise click.exceptions.Exit(1)
