"""The command line: parses, calls, prints. Whatever a command can do, a function of the library can do without it."""

from __future__ import annotations

import errno
import json
import math
import os
import shlex
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
        except OSError as error:  # no room, no permission, a file where a folder should be
            if error.errno == errno.EPIPE or not error.strerror:
                raise
            place = f"{error.filename}: " if error.filename else ""
            raise click.ClickException(f"{place}{error.strerror}") from error


class _Words(click.ParamType):
    """A comma-separated list, such as S1,S5."""

    name = "A,B,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return tuple(word.strip() for word in value.split(",")) if isinstance(value, str) else value


class _NamedFile(click.ParamType):
    """NAME=FILE, such as hrnet=detections.csv."""

    name = "NAME=FILE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        name, equals, path = value.partition("=") if isinstance(value, str) else (value[0], "=", str(value[1]))
        if not name or not equals or not path:
            self.fail(f"{value!r} is not NAME=FILE, such as hrnet=detections.csv", param, ctx)
        return name, Path(path)


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
@click.version_option(__version__, prog_name="h36m")
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
    from h36m_toolbox.demo import demo_commands, demo_tour

    for command in demo_commands(folder, seed, jobs):
        click.secho(f"\n$ h36m {shlex.join(command)}", bold=True)
        failed = main.main(list(command), standalone_mode=False)
        if failed:  # an exit status, which does not raise here
            raise click.exceptions.Exit(failed)
    click.echo(f"\n{demo_tour(folder)}")


@main.command()
@click.argument("folder", metavar="DIR", type=FOLDER)
@click.option(
    "--size",
    type=click.Choice(["demo", "full"]),
    default="demo",
    show_default=True,
    help="demo: 4 subjects, all actions, videos and detections; full: 7 subjects, 30 recordings, 2.1 million poses.",
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
@click.argument("files", metavar="[FILE]...", nargs=-1)
@click.option("--to", "folder", metavar="DIR", type=FOLDER, help="Where the files go.  [required, but for --list]")
@click.option("--subjects", type=_Words(), help="Only these subjects, such as S1,S9.")
@click.option("--cookie-file", type=FILE, help="Your session cookie.  [default: the environment variable H36M_COOKIE]")
@click.option("--list", "listing", is_flag=True, help="Say what there is, with licences and addresses.")
def download(
    files: tuple[str, ...],
    folder: Path | None,
    subjects: tuple[str, ...] | None,
    cookie_file: Path | None,
    listing: bool,
) -> None:
    """Download FILEs: poses, videos, masks of the official site, with your own session; detections by name.

    Resumes what was interrupted; checksums are compared before a file gets its name. `--list` names the files.
    """
    from h36m_toolbox.download_index import index_table, requested
    from h36m_toolbox.downloads import fetch
    from h36m_toolbox.session_cookie import cookie_from

    if listing:
        click.echo(index_table())
        return
    if not files or folder is None:
        raise click.UsageError("give FILEs and --to DIR, or --list")
    wanted = requested(files, subjects)
    cookie = cookie_from(cookie_file, os.environ) if any(file.official for file in wanted) else ""
    for file in wanted:
        with _bytes(file.file_name) as step:
            fetched = fetch(
                file.url,
                folder / file.file_name,
                sha256=file.sha256,
                md5s=file.md5s,
                size=file.size,
                cookie=cookie if file.official else "",
                progress=step,
            )
        checked = f"{' and '.join(fetched.checked)} right" if fetched.checked else "no checksum is published"
        click.echo(f"{'kept' if fetched.kept else 'wrote'} {fetched.path} ({fetched.size:,} bytes, {checked})")


@contextmanager
def _bytes(what: str) -> Iterator[Callable[[int, int | None], None]]:
    from tqdm import tqdm

    with tqdm(desc=what, unit="B", unit_scale=True, disable=None, file=sys.stderr) as bar:

        def step(done: int, total: int | None) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield step


@main.command()
@click.argument("raw", metavar="RAW", type=FOLDER)
@click.option("--out", "data", metavar="DATA", type=FOLDER, required=True, help="The prepared folder.")
@click.option("--every", type=click.IntRange(1), default=1, show_default=True, help="Each n-th frame, from the first.")
@click.option("--quality", type=click.IntRange(1, 100), default=88, show_default=True, help="JPEG quality.")
@click.option("--subjects", type=_Words(), help="Only these subjects, such as S1,S9.")
@click.option("--actions", type=_Words(), help="Only these actions, such as Walking,TakingPhoto.")
@click.option("--cameras", type=_Words(), help="Only these cameras, such as 54138969.")
@click.option("--dry-run", is_flag=True, help="Say what would be done.")
@_jobs_option
def extract(raw: Path, data: Path, dry_run: bool, jobs: int, every: int, quality: int, **only: Any) -> None:
    """Videos to frames: DATA/images/s_01_act_02_subact_01_ca_01/..._000001.jpg."""
    from h36m_toolbox.archive import Kind
    from h36m_toolbox.frames import extract_frames, extraction_summary
    from h36m_toolbox.raw_inputs import open_raw, videos_to_extract

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
    type=click.Choice(["parquet", "toolbox", "poseformer", "videopose3d", "h36m-fetch", "multiview", "mmpose"]),
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
    from h36m_toolbox.raw_inputs import open_raw

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
@click.option("--sh", type=FILE, help="Stacked hourglass: the tar.gz of h5 files, h36m.zip, or data_2d_h36m_sh_*.npz.")
@click.option(
    "--add",
    "added",
    type=_NamedFile(),
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
def detections(
    raw: Path, data: Path, added: tuple[tuple[str, Path], ...], exported: tuple[str, ...], **named: Path | None
) -> None:
    """Bundle 2D detections: DATA/detections/{gt,cpn,sh,NAME}.parquet. Ground truth always, others from their files."""
    from h36m_toolbox.archive import POSE_KINDS
    from h36m_toolbox.detections import bundle_detections
    from h36m_toolbox.positions_npz import positions_2d_path, write_positions_2d
    from h36m_toolbox.raw_inputs import open_raw

    files = {name: path for name, path in named.items() if path}
    for name, path in added:
        if name == "gt" or name in files:
            raise click.UsageError(f"--add {name}={path}: there is a {name} already; choose another name")
        files[name] = path
    archive = open_raw(raw, data, POSE_KINDS, progress=_say_unpacked)
    with _progress("detections") as step:
        reports = bundle_detections(archive, data, files, step)
    for report in reports.values():
        click.echo("\n".join(report.lines()))
    for name in dict.fromkeys(exported):
        with _progress(f"npz {name}") as step:
            count = write_positions_2d(data, name, positions_2d_path(data, name), step)
        click.echo(f"{count} sequences in {positions_2d_path(data, name)}")


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
@click.option("--json", "as_json", is_flag=True, help="The cards as JSON.")
def models(as_json: bool) -> None:
    """Bundled models: inputs, parameters, published figures, where the authors publish the weights."""
    from h36m_toolbox.models.registry import cards_as_json, cards_as_text

    click.echo(cards_as_json() if as_json else cards_as_text())


def _run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--runs", type=FOLDER, default=Path("runs"), show_default=True, help="Where run folders go."),
        click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1, ...; auto: CUDA if any."),
        click.option("--detections", default="gt", show_default=True, help="2D input: gt, cpn, sh or a name of yours."),
        click.option("--data", type=THERE, required=True, help="The prepared folder."),
    ):
        command = option(command)
    return command


@main.command()
@click.option("--model", required=True, help="One of `h36m models`.")
@_run_options
@click.option("--run", "name", help="Folder in RUNS; an unfinished run of that name goes on.  [default: by model]")
@click.option("--epochs", type=click.IntRange(1), help="Instead of the recipe's.")
@click.option("--batch-size", type=click.IntRange(2), help="Instead of the recipe's.")
@click.option("--lr", type=float, help="Instead of the recipe's.")
@click.option("--seed", type=int, help="Of the weights, the order of the batches and dropout.")
@click.option(
    "--validate/--no-validate",
    default=True,
    show_default=True,
    help="Choose the epoch on the test subjects, which is the papers' habit, or keep the last one.",
)
def train(
    model: str, data: Path, detections: str, device: str, runs: Path, name: str | None, validate: bool, **changes: Any
) -> None:
    """Train by the paper's recipe: RUNS/<run>/checkpoint_{last,best}.pt, log.csv. Resumes what was interrupted."""
    from h36m_toolbox.benchmarks.training_runs import TrainRequest, train_model

    given = {option: value for option, value in changes.items() if value is not None}
    request = TrainRequest(model, data, detections, device, validate, changes=given)
    folder = runs / (name or f"train-{model}-{detections}")
    with _epochs(request.recipe.epochs) as step:
        result = train_model(request, folder, step)
    for name, epoch in result.notable_epochs.items():
        error = epoch.validation_mpjpe_mm
        validated = "" if math.isnan(error) else f", validation {error:.2f} mm"
        click.echo(f"{name}: epoch {epoch.epoch}, loss {epoch.train_loss:.6f}{validated}")
    for path in (result.last, result.best, folder / "log.csv"):
        if path:
            click.echo(f"wrote {path}")


@contextmanager
def _epochs(epochs: int) -> Iterator[Callable[[int, int, int], None]]:
    from tqdm import tqdm

    with tqdm(total=epochs, desc="train", unit="epoch", disable=None, file=sys.stderr) as bar:

        def step(epoch: int, finished: int, steps: int) -> None:
            bar.n = round(epoch - 1 + finished / steps, 3)
            bar.refresh(nolock=True) if finished == steps else bar.update(0)

        yield step


@main.command()
@click.option("--model", required=True, help="One of `h36m models`.")
@_run_options
@click.option("--weights", type=FILE, help="A checkpoint: the authors' or ours.")
@click.option("--untrained", is_flag=True, help="Run with random weights instead; the row says so.")
@click.option("--protocol", default="semgcn", show_default=True, help="How frames are scored; see `h36m protocols`.")
@click.option("--split", type=click.Choice(["val", "train"]), default="val", show_default=True)
@click.option("--batch-size", type=click.IntRange(1), default=4096, show_default=True)
def bench(weights: Path | None, untrained: bool, runs: Path, **request: Any) -> None:
    """Run a model and score it: RUNS/<run>/{predictions.parquet,report.json,per_action.csv} and a leaderboard row."""
    from h36m_toolbox.benchmarks.runs import BenchRequest
    from h36m_toolbox.benchmarks.runs import bench as run_bench

    if (weights is None) != untrained:
        raise click.UsageError("give --weights FILE (see `h36m models`), or --untrained for random weights")
    result = run_bench(BenchRequest(weights=weights, **request), runs)
    click.echo(result.report.summary())
    click.echo(f"wrote {result.folder}, a row in {runs / 'leaderboard.csv'}")


@main.command("eval")
@click.argument("predictions", type=FILE)
@click.option("--data", type=THERE, required=True, help="The prepared folder.")
@click.option("--protocol", default="videopose3d", show_default=True, help="How frames are scored.")
@click.option("--split", type=click.Choice(["val", "train"]), default="val", show_default=True)
@click.option("--out", type=FOLDER, help="Write report.json and per_action.csv there.")
def eval_(predictions: Path, data: Path, protocol: str, split: str, out: Path | None) -> None:
    """Score PREDICTIONS, a Parquet file of poses from any model, under a protocol."""
    from h36m_toolbox.benchmarks.runs import score, write_report

    report = score(predictions, data, protocol, split)
    click.echo(report.to_markdown())
    if out:
        write_report(out, report)
        click.echo(f"wrote {out / 'report.json'}, {out / 'per_action.csv'}")


@main.command()
@click.option("--runs", type=FOLDER, default=Path("runs"), show_default=True, help="The folder with leaderboard.csv.")
@click.option("--protocol", help="Only this protocol.")
def leaderboard(runs: Path, protocol: str | None) -> None:
    """Scored runs, ranked protocol by protocol."""
    from h36m_toolbox.benchmarks.leaderboard import ranked_table, read_leaderboard

    click.echo(ranked_table(read_leaderboard(runs / "leaderboard.csv"), protocol))


@main.command()
def protocols() -> None:
    """Evaluation protocols with every switch written out."""
    from h36m_toolbox.benchmarks.protocols import protocols_as_text

    click.echo(protocols_as_text())


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
