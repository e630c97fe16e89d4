"""`h36m extract`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from h36m_toolbox.commands.options import FOLDER, Words, progress_bar, say_unpacked, workers_option, writes


class Selection(click.ParamType):
    """all, every:N or h36m-fetch."""

    name = "all|every:N|h36m-fetch"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from h36m_toolbox.errors import H36MError
        from h36m_toolbox.frames.plans import selection

        try:
            return selection(value)
        except H36MError as error:
            self.fail(str(error), param, ctx)


class Size(click.ParamType):
    """WxH, such as 192x256."""

    name = "WxH"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not re.fullmatch(r"[1-9]\d{0,3}x[1-9]\d{0,3}", value):
            self.fail(f"{value!r} is not WIDTHxHEIGHT in px, such as 192x256", param, ctx)
        return value


@click.command("extract")
@click.argument("raw", metavar="RAW", type=FOLDER)
@click.option("--out", "data", metavar="DATA", type=FOLDER, required=True, help="The prepared folder.")
@click.option("--select", type=Selection(), metavar="all|every:N|h36m-fetch", show_default="all", help="Which frames.")
@click.option("--every", type=click.IntRange(1), help="Short for --select every:N, each n-th frame from the first.")
@click.option(
    "--layout",
    type=click.Choice(("toolbox", "h36m-fetch")),
    default="toolbox",
    show_default=True,
    help="Names of folders and files.",
)
@click.option("--undistort", is_flag=True, help="Without lens distortion, as learnable triangulation's frames.")
@click.option(
    "--crop", type=click.Choice(("toolbox", "mask", "poseformer", "joints")), help="Around the person, by rule."
)
@click.option(
    "--size", type=Size(), metavar="WxH", show_default="256x256, poseformer 192x256", help="Of the crops, px."
)
@click.option(
    "--lossless", is_flag=True, help="Crops of the whole frames' JPEG files, not compressed by JPEG again; packed."
)
@click.option("--pack", is_flag=True, help="Inside a Parquet file a sequence, not one file a frame.")
@click.option(
    "--quality", type=click.IntRange(1, 100), show_default="88; undistorted and crops 95", help="JPEG quality."
)
@click.option("--subjects", type=Words(), help="Only these subjects, such as S1,S9.")
@click.option("--actions", type=Words(), help="Only these actions, such as Walking,TakingPhoto.")
@click.option("--cameras", type=Words(), help="Only these cameras, such as 54138969.")
@click.option("--dry-run", is_flag=True, help="Say what would be done.")
@workers_option
@writes("images")
def command(raw: Path, data: Path, dry_run: bool, jobs: Any, **options: Any) -> None:
    """Videos to frames: DATA/images/s_01_act_02_subact_01_ca_01/..._000001.jpg.

    Of MPI-INF-3DHP: videos and test images, below DATA/mpi-inf-3dhp; with --every, --quality, --crop poseformer and
    --cameras (vnect or another set's name, or numbers).
    """
    from h36m_toolbox.frames.extraction import extract_frames, extraction_summary
    from h36m_toolbox.frames.plans import needed_kinds, plan_sources
    from h36m_toolbox.mpi_inf_3dhp.archive import find_archive
    from h36m_toolbox.raw.archive import Kind
    from h36m_toolbox.raw.inputs import open_raw, videos_to_extract
    from h36m_toolbox.sequences import SUBJECTS

    other = find_archive(raw)
    if other:
        _extract_mpi_inf_3dhp(other, data, dry_run, jobs, options)
        return
    recipe = _recipe(options)
    only = {name: options[name] for name in ("subjects", "actions", "cameras") if options[name]}
    kinds = (Kind.VIDEO, *needed_kinds(recipe.select, recipe.store))
    archive = open_raw(raw, data, kinds, only.get("subjects", SUBJECTS), progress=say_unpacked)
    videos = videos_to_extract(archive, **only)
    sources = plan_sources(archive, data, videos, recipe.select, recipe.store)
    with progress_bar("extract", total=len(videos)) as step:
        outcomes = extract_frames(videos, data, recipe, sources, jobs, dry_run, step)
    summary = extraction_summary(outcomes, data, recipe.store)
    click.echo("\n".join(summary.lines))
    if summary.failed:
        raise click.exceptions.Exit(1)


def _recipe(options: dict[str, Any]) -> Any:
    from h36m_toolbox.frames.extraction import Recipe
    from h36m_toolbox.frames.stores import FrameStore

    every = f"every:{options['every']}" if options["every"] else None
    if every and options["select"] and every != options["select"]:
        raise click.UsageError(
            f"--every {options['every']} and --select {options['select']} disagree; give one of them"
        )
    rule, size = options["crop"], options["size"]
    if size and not rule:
        raise click.UsageError(f"--size {size} is the size of crops; give a rule too, such as --crop toolbox")
    lossless = options["lossless"]
    if lossless and not rule:
        raise click.UsageError("--lossless is of crops; give a rule too, such as --crop poseformer")
    size = size or ("192x256" if rule == "poseformer" else "256x256")
    store = FrameStore(options["layout"], options["undistort"], f"{rule}-{size}" if rule else "", lossless)
    return Recipe(options["select"] or every or "all", store, options["quality"], options["pack"] or lossless)


def _extract_mpi_inf_3dhp(archive: Any, data: Path, dry_run: bool, jobs: Any, options: dict[str, Any]) -> None:
    from h36m_toolbox.mpi_inf_3dhp.frames import FrameRecipe, extract_views, extraction_lines
    from h36m_toolbox.mpi_inf_3dhp.sequences import cameras_of

    stray = [
        f"--{name}"
        for name in ("select", "undistort", "size", "lossless", "pack", "subjects", "actions")
        if options[name]
    ]
    stray += ["--dry-run"] if dry_run else []
    stray += ["--layout"] if options["layout"] != "toolbox" else []
    stray += [f"--crop {options['crop']}"] if options["crop"] not in (None, "poseformer") else []
    if stray:
        raise click.UsageError(f"{', '.join(stray)}: only for Human3.6M, which RAW is not")
    cameras = cameras_of(",".join(options["cameras"] or ("vnect",)))
    recipe = FrameRecipe(options["every"] or 1, options["crop"] is not None, options["quality"])
    with progress_bar("extract") as step:
        outcomes = extract_views(archive, data, cameras, recipe, jobs, step)
    click.echo("\n".join(extraction_lines(outcomes)))
    if any(outcome.state == "failed" for outcome in outcomes):
        raise click.exceptions.Exit(1)
