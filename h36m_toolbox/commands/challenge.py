"""`h36m challenge`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from h36m_toolbox.commands.options import FILE, FOLDER, THERE, model_options


@click.command("challenge")
@click.argument("folder", type=THERE)
@click.option("--model", default="integral", show_default=True, help="integral or integral-direct.")
@click.option("--weights", type=FILE, help="A checkpoint: the authors' or ours.")
@click.option("--untrained", is_flag=True, help="Run with random weights instead.")
@click.option("--part", type=click.Choice(["Train", "Val", "Test"]), default="Val", show_default=True)
@click.option("--keypoints", type=FILE, help="2D joints of the set, from which boxes are made (pickle).")
@click.option("--whole-images", is_flag=True, help="Take one box for all images instead.")
@click.option("--flip", is_flag=True, help="Average the poses of each image and of its mirror image.")
@click.option("--ensemble", type=FILE, multiple=True, help="Weights of one more model to average with; repeatable.")
@click.option("--csv", "csvs", is_flag=True, help="Also write POSE/00001.csv and so on.")
@click.option("--out", type=FOLDER, help="Where the submission and the scores go.")
@click.option("--check", "submission", type=FILE, help="Run no model; check the form of this submission, anybody's.")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1, ...; auto: CUDA if any.")
@click.option("--batch-size", type=click.IntRange(1), help="[default: 16]")
@model_options
def command(
    folder: Path,
    part: str,
    weights: Path | None,
    untrained: bool,
    keypoints: Path | None,
    whole_images: bool,
    csvs: bool,
    out: Path | None,
    submission: Path | None,
    options: dict[str, Any],
    **request: Any,
) -> None:
    """Run a model on a set of CHALL_H80K in FOLDER: the ECCV 2018 challenge's submission, and scores but for Test."""
    from h36m_toolbox.benchmarks.runs.bench import BenchRequest
    from h36m_toolbox.benchmarks.runs.challenge import check_submission, run_challenge

    if submission:
        images = check_submission(folder, part, submission)
        click.echo(f"{submission}: in the challenge's form, a pose for each of the {images} images of {part}")
        return
    if out is None:
        raise click.UsageError("give --out FOLDER for the submission, or --check FILE to check one")
    if (weights is None) != untrained:
        raise click.UsageError("give --weights FILE (see `h36m models`), or --untrained for random weights")
    if (keypoints is None) != whole_images:
        raise click.UsageError("give --keypoints FILE, or --whole-images for one box for all")
    asked = BenchRequest(data=folder, weights=weights, options={"depth_in": "image", **options}, **request)
    scores = run_challenge(asked, part, keypoints, out, csvs)
    if scores:
        click.echo(scores.summary())
    click.echo(f"wrote {out / f'{part}_Prediction.JSON'}")
