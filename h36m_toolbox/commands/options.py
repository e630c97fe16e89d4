"""What commands share: the types of their arguments, options that several have, progress on stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from h36m_toolbox.raw.archive import Tarball
    from h36m_toolbox.raw.tarballs import Unpacked

ARGUMENTS = "h36m.arguments"  # where the context keeps the command line as it was given
FOLDER = click.Path(file_okay=False, path_type=Path)
THERE = click.Path(exists=True, file_okay=False, path_type=Path)
FILE = click.Path(dir_okay=False, path_type=Path)


class Words(click.ParamType):
    """A comma-separated list, such as S1,S5."""

    name = "A,B,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return tuple(word.strip() for word in value.split(",")) if isinstance(value, str) else value


class Numbers(click.ParamType):
    """A comma-separated list of positive numbers, such as 50,100."""

    name = "N,N,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            numbers = tuple(float(word) for word in value.split(","))
        except ValueError:
            numbers = ()
        if not numbers or not all(0 < number < float("inf") for number in numbers):
            self.fail(f"{value!r} is no list of positive numbers, such as 50,100", param, ctx)
        return numbers


class NamedFile(click.ParamType):
    """NAME=FILE, such as hrnet=detections.csv."""

    name = "NAME=FILE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        name, equals, path = value.partition("=") if isinstance(value, str) else (value[0], "=", str(value[1]))
        if not name or not equals or not path:
            self.fail(f"{value!r} is not NAME=FILE, such as hrnet=detections.csv", param, ctx)
        return name, Path(path)


def arguments_as_given() -> tuple[str, ...]:
    """The command line behind the running command, for the record of what it makes."""
    given: tuple[str, ...] = click.get_current_context().meta.get(ARGUMENTS, ())
    return given


def jobs_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--jobs",
        type=click.IntRange(1),
        default=lambda: len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        show_default="all cores",
        help="Processes, one sequence each at a time.",
    )(command)


def workers_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--jobs N` or `--dask ADDRESS`: the command gets either as `jobs`, and absolute paths for other machines."""

    @wraps(command)
    def run(dask: str | None, **values: Any) -> Any:
        if dask is None:
            return command(**values)
        from h36m_toolbox.dask_workers import dask_workers

        values = {name: value.absolute() if isinstance(value, Path) else value for name, value in values.items()}
        with dask_workers(dask, (values["raw"],)) as values["jobs"]:
            return command(**values)

    return click.option(
        "--dask",
        metavar="ADDRESS",
        help="Instead of --jobs, a Dask scheduler, tcp://HOST:8786, whose workers see RAW and DATA in the same places.",
    )(jobs_option(run))


def writes(area: str, each: str = "") -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`--wait`: no other command writes this area of DATA, or AREA/VALUE of each value of an option, meanwhile."""

    def with_lock(command: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(command)
        def run(data: Path, wait: bool, **values: Any) -> Any:
            if values.get("dry_run"):
                return command(data=data, **values)
            from h36m_toolbox.storage.data_lock import writing

            areas = [f"{area}/{value}" for value in values[each]] if each else [area]
            with writing(data, *areas, wait=wait, waiting=lambda why: click.echo(why, err=True)):
                return command(data=data, **values)

        return click.option("--wait", is_flag=True, help="Wait for another run that writes the same, do not refuse.")(
            run
        )

    return with_lock


def data_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What a model works on, and where its runs go."""
    for option in (
        click.option("--runs", type=FOLDER, default=Path("runs"), show_default=True, help="Where run folders go."),
        click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1, ...; auto: CUDA if any."),
        click.option(
            "--detections", help="2D input: gt, cpn, sh or a name of yours.  [default: gt; ca-poseformer: cpn]"
        ),
        click.option("--images", type=THERE, help="Their frames.  [default: images/ beside the pickles, in the tree]"),
        click.option(
            "--meta",
            type=THERE,
            help="Integral Human Pose's HM36 tree, annot/.../matlab_meta.txt: read once, DATA is made of it.",
        ),
        click.option(
            "--pickles",
            type=THERE,
            help="Context-Aware PoseFormer's h36m_train.pkl, h36m_validation.pkl: read once, DATA is made of them.",
        ),
        click.option("--data", type=FOLDER, help="The prepared folder.  [default: that of the pickles or the tree]"),
    ):
        command = option(command)
    return _with_official_files(command)


def _with_official_files(command: Callable[..., Any]) -> Callable[..., Any]:
    """The command gets DATA; made from official files first, where they are given."""

    @wraps(command)
    def run(data: Path | None, pickles: Path | None, meta: Path | None, images: Path | None, **values: Any) -> Any:
        place = data or pickles or meta or values.get("challenge")  # CHALL_H80K needs nothing of DATA
        if place is None:
            raise click.UsageError("give --data FOLDER, or --pickles FOLDER or --meta FOLDER to make it from")
        if pickles and meta:
            raise click.UsageError("DATA is made of --pickles or of --meta; leave one of them out")
        if pickles:
            from h36m_toolbox.formats.poseformer_inputs import import_pickles
            from h36m_toolbox.storage.data_lock import writing

            # whoever comes second, such as the other processes of torchrun, waits and finds it done
            with (
                writing(place, "labels/parquet", "labels/poseformer", "detections", wait=True),
                progress_bar("pickles") as step,
            ):
                done = import_pickles(pickles, place, images, step)
            for line in done.lines():
                click.echo(line, err=True)
        elif meta:
            from h36m_toolbox.formats.integral_trees import import_meta_tree
            from h36m_toolbox.storage.data_lock import writing

            with writing(place, "labels/parquet", "detections", wait=True), progress_bar("tree") as step:
                for split, rows in import_meta_tree(meta, place, images, step).items():
                    click.echo(f"{split}: {rows:,} frames of the tree", err=True)
        elif not place.is_dir():
            raise click.UsageError(f"Invalid value for '--data': Directory '{place}' does not exist.")
        elif images:
            raise click.UsageError("--images goes with --pickles or --meta")
        return command(data=place, **values)

    return run


class _Setting(click.ParamType):
    """NAME=VALUE; the value is a number, true, false, or otherwise a word."""

    name = "NAME=VALUE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        name, equals, text = value.partition("=")
        if not name or not equals:
            self.fail(f"{value!r} is not NAME=VALUE, such as hid_dim=64", param, ctx)
        try:
            return name, json.loads(text)
        except json.JSONDecodeError:
            return name, text


def model_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--joints`, `--layers`, `--patch` and `--option`, which the command gets as the dict `options`."""

    @wraps(command)
    def run(
        joints: str | None, layers: str | None, patch: str | None, option: tuple[tuple[str, Any], ...], **values: Any
    ) -> Any:
        numbers = {"joints": joints, "layers": layers}
        given: dict[str, Any] = {name: int(number) for name, number in numbers.items() if number}
        return command(options={**given, **({"patch": patch} if patch else {}), **dict(option)}, **values)

    for each in (
        click.option("--option", type=_Setting(), multiple=True, help="Of the network, as hid_dim=64. Repeatable."),
        click.option("--patch", metavar="WxH", help="Of integral, such as 288x384.  [default: 256x256]"),
        click.option("--layers", type=click.Choice(["18", "34", "50", "101", "152"]), help="Of a model's ResNet."),
        click.option("--joints", type=click.Choice(["16", "17"]), help="With or without Neck/Nose.  [default: 16]"),
    ):
        run = each(run)
    return run


def execution_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--precision` and how the device is given its work, which the command gets as an `Execution`."""

    @wraps(command)
    def run(precision: str, channels_last: bool, compile: bool, cuda_graphs: bool, **values: Any) -> Any:
        from h36m_toolbox.models.execution import Execution

        execution = Execution(precision, channels_last, compile, cuda_graphs)  # type: ignore[arg-type]  # click checks
        return command(execution=execution, **values)

    for each in (
        click.option("--cuda-graphs", is_flag=True, help="Launch a whole forward at once, on CUDA."),
        click.option("--compile", is_flag=True, help="torch.compile the network: minutes before it pays."),
        click.option("--channels-last", is_flag=True, help="Lay out convolutions channel by channel."),
        click.option(
            "--precision",
            type=click.Choice(["fp32", "tf32", "bf16"]),
            default="fp32",
            show_default=True,
            help="Of the network's products; tf32 on CUDA only. Recorded with the run.",
        ),
    ):
        run = each(run)
    return run


@contextmanager
def progress_bar(what: str, unit: str = "seq", total: int | None = None) -> Iterator[Callable[..., None]]:
    from tqdm import tqdm

    with tqdm(total=total, desc=what, unit=unit, disable=None, file=sys.stderr) as bar:
        yield lambda *_: bar.update() and None


def say_unpacked(tarball: Tarball, result: Unpacked) -> None:
    if result.written:
        click.echo(f"{tarball.path.name}: {result.written} files unpacked, {result.kept} were there", err=True)
