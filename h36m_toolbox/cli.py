"""The command line: parses, calls, prints. Whatever a command can do, a function of the library can do without it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from h36m_toolbox import __version__
from h36m_toolbox.errors import H36MError

if TYPE_CHECKING:
    from h36m_toolbox.archive import Tarball
    from h36m_toolbox.tarballs import Unpacked

FOLDER = click.Path(file_okay=False, path_type=Path)
THERE = click.Path(exists=True, file_okay=False, path_type=Path)
FILE = click.Path(dir_okay=False, path_type=Path)


class _Commands(click.Group):
    """Turns what users can put right into one clean line and exit status 1; commands in the order of the work."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except H36MError as error:
            raise click.ClickException(str(error)) from error


class _Words(click.ParamType):
    """A comma-separated list, such as S1,S5."""

    name = "A,B,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return tuple(word.strip() for word in value.split(",")) if isinstance(value, str) else value


def _jobs_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--jobs",
        type=click.IntRange(1),
        default=lambda: len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        show_default="all cores",
        help="Processes, one sequence each at a time.",
    )(command)


@contextmanager
def _progress(what: str, unit: str = "seq", total: int | None = None) -> Iterator[Callable[..., None]]:
    from tqdm import tqdm

    with tqdm(total=total, desc=what, unit=unit, disable=None, file=sys.stderr) as bar:
        yield lambda *_: bar.update() and None


def _say_unpacked(tarball: Tarball, result: Unpacked) -> None:
    if result.written:
        click.echo(f"{tarball.path.name}: {result.written} files unpacked, {result.kept} were there", err=True)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def main() -> None:
    """Prepare Human3.6M and benchmark 3D human pose models on it.

    RAW is the data set as you have it on disk (downloaded archives, unpacked, or h36m-fetch's), DATA the one prepared
    folder. Start with `h36m demo`, which needs neither.
    """


@main.command()
@click.argument("folder", metavar="[DIR]", type=FOLDER, default=Path("demo-data"))
@click.option("--seed", type=int, default=0, show_default=True, help="Of the motion, the noise and the training.")
@_jobs_option
def demo(folder: Path, seed: int, jobs: int) -> None:
    """A synthetic archive in the original's formats, then the whole flow on it."""
    from h36m_toolbox.benchmarks.demo import run_demo

    click.echo(run_demo(folder, seed, jobs, lambda line: click.echo(line, err=True)))


@main.command()
@click.argument("folder", metavar="DIR", type=FOLDER)
@click.option(
    "--size",
    type=click.Choice(["demo", "full"]),
    default="demo",
    show_default=True,
    help="demo: 4 subjects, 4 actions, videos and detections; full: 7 subjects, 30 recordings, 2.1 million poses.",
)
@click.option("--subjects", type=_Words(), help="Only these subjects.")
@click.option("--actions", type=_Words(), help="Only these actions.")
@click.option("--frames", type=click.IntRange(2), help="Poses a recording, instead of the size's own number.")
@click.option("--videos/--no-videos", default=None, help="Film the figure.  [default: as the size says]")
@click.option("--seed", type=int, default=0, show_default=True)
@_jobs_option
def synth(folder: Path, size: str, jobs: int, seed: int, **changes: Any) -> None:
    """Write a synthetic Human3.6M archive in the original's own formats."""
    from h36m_toolbox.synthetic import plan_of_size, write_synthetic_archive

    plan = plan_of_size(size, seed=seed, **{name: value for name, value in changes.items() if value is not None})
    with _progress("synth", "rec", len(plan.recordings)) as step:
        report = write_synthetic_archive(folder, plan, jobs, step)
    click.echo(f"{folder}: {report.recordings} recordings, {report.poses:,} poses, {report.videos} videos")


@main.command()
@click.argument("raw", metavar="RAW", type=FOLDER)
@click.option("--out", "data", metavar="DATA", type=FOLDER, required=True, help="The prepared folder.")
@click.option("--every", type=click.IntRange(1), default=1, show_default=True, help="Each n-th frame, from the first.")
@click.option("--quality", type=click.IntRange(1, 100), default=90, show_default=True, help="JPEG quality.")
@click.option("--subjects", type=_Words(), help="Only these subjects, such as S1,S9.")
@click.option("--actions", type=_Words(), help="Only these actions, such as Walking,TakingPhoto.")
@click.option("--cameras", type=_Words(), help="Only these cameras, such as 54138969.")
@click.option("--dry-run", is_flag=True, help="Say what would be done.")
@_jobs_option
def extract(raw: Path, data: Path, dry_run: bool, jobs: int, every: int, quality: int, **only: Any) -> None:
    """Videos to frames: DATA/images/s_01_act_02_subact_01_ca_01/..._000001.jpg."""
    from h36m_toolbox.archive import Kind
    from h36m_toolbox.frames import extract_frames, extraction_summary
    from h36m_toolbox.preparation import open_raw, videos_to_extract

    archive = open_raw(raw, data, (Kind.VIDEO,), progress=_say_unpacked)
    videos = videos_to_extract(archive, **{name: words for name, words in only.items() if words})
    with _progress("extract", total=len(videos)) as step:
        outcomes = extract_frames(videos, data, every, quality, jobs, dry_run, step)
    summary = extraction_summary(outcomes, data)
    click.echo("\n".join(summary.lines))
    if summary.failed:
        raise click.exceptions.Exit(1)


@main.command()
@click.argument("raw", metavar="RAW", type=FOLDER)
@click.option("--out", "data", metavar="DATA", type=FOLDER, required=True, help="The prepared folder.")
@click.option(
    "--format",
    "formats",
    type=click.Choice(["parquet", "toolbox", "poseformer"]),
    multiple=True,
    default=("parquet",),
    show_default=True,
    help="Repeatable.",
)
@click.option("--without-images", is_flag=True, help="In pickles, list also poses whose image is not in DATA/images.")
@_jobs_option
def labels(raw: Path, data: Path, formats: tuple[str, ...], without_images: bool, jobs: int) -> None:
    """CDF poses to labels: DATA/labels/FORMAT/..."""
    from h36m_toolbox.archive import POSE_KINDS
    from h36m_toolbox.formats import write_format
    from h36m_toolbox.preparation import open_raw

    archive = open_raw(raw, data, POSE_KINDS, progress=_say_unpacked)
    damaged = False
    for format_ in dict.fromkeys(formats):
        with _progress(f"labels {format_}") as step:
            report = write_format(format_, archive, data, without_images, jobs, step)
        click.echo("\n".join(report.lines()))
        damaged = damaged or report.damaged
    if damaged:
        raise click.exceptions.Exit(1)


@main.command()
@click.argument("raw", metavar="RAW", type=FOLDER)
@click.option("--out", "data", metavar="DATA", type=FOLDER, required=True, help="The prepared folder.")
@click.option("--cpn", type=FILE, help="data_2d_h36m_cpn_ft_h36m_dbb.npz.")
@click.option("--sh", type=FILE, help="Stacked hourglass: the tar.gz of h5 files, or a data_2d_h36m_sh_*.npz.")
def detections(raw: Path, data: Path, **files: Path | None) -> None:
    """Bundle 2D detections: DATA/detections/{gt,cpn,sh}.parquet. Ground truth always; CPN and SH from their files."""
    from h36m_toolbox.archive import POSE_KINDS
    from h36m_toolbox.preparation import bundle_detections, open_raw

    archive = open_raw(raw, data, POSE_KINDS, progress=_say_unpacked)
    with _progress("detections") as step:
        reports = bundle_detections(archive, data, {name: path for name, path in files.items() if path}, step)
    for report in reports.values():
        click.echo("\n".join(report.lines()))


@main.command()
@click.argument("data", metavar="DATA", type=THERE)
@click.option(
    "--select",
    "selection",
    type=click.Choice(["h36m-fetch", "all"]),
    default="h36m-fetch",
    show_default=True,
    help="Instants: those h36m-fetch keeps (ContextPose's figures) or all.",
)
def stats(data: Path, selection: str) -> None:
    """Limb-length mean and standard deviation of the training set."""
    from h36m_toolbox.limb_lengths import statistics_table, training_limb_lengths, write_limb_statistics

    by_subject = training_limb_lengths(data, selection)
    click.echo(statistics_table(by_subject))
    for path in write_limb_statistics(data, by_subject):
        click.echo(f"wrote {path}")


@main.command()
@click.argument("folder", metavar="RAW|DATA", type=THERE)
@click.option("--json", "as_json", is_flag=True, help="Findings as JSON.")
def doctor(folder: Path, as_json: bool) -> None:
    """What is there, missing, damaged or known to be bad. Exit status 1 where something is wrong."""
    from h36m_toolbox.doctor import examine

    findings = examine(folder)
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings], indent=1))
    else:
        for finding in findings:
            click.echo(f"{finding.level:8} {finding.where:24} {finding.what}")
    if any(finding.level == "problem" for finding in findings):
        raise click.exceptions.Exit(1)
