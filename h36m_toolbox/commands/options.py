"""What commands share: the types of their arguments, options that several have, progress on stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from h36m_toolbox.archive import Tarball
    from h36m_toolbox.tarballs import Unpacked

FOLDER = click.Path(file_okay=False, path_type=Path)
THERE = click.Path(exists=True, file_okay=False, path_type=Path)
FILE = click.Path(dir_okay=False, path_type=Path)


class Words(click.ParamType):
    """A comma-separated list, such as S1,S5."""

    name = "A,B,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return tuple(word.strip() for word in value.split(",")) if isinstance(value, str) else value


class NamedFile(click.ParamType):
    """NAME=FILE, such as hrnet=detections.csv."""

    name = "NAME=FILE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        name, equals, path = value.partition("=") if isinstance(value, str) else (value[0], "=", str(value[1]))
        if not name or not equals or not path:
            self.fail(f"{value!r} is not NAME=FILE, such as hrnet=detections.csv", param, ctx)
        return name, Path(path)


def jobs_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--jobs",
        type=click.IntRange(1),
        default=lambda: len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        show_default="all cores",
        help="Processes, one sequence each at a time.",
    )(command)


def run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--runs", type=FOLDER, default=Path("runs"), show_default=True, help="Where run folders go."),
        click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1, ...; auto: CUDA if any."),
        click.option("--detections", default="gt", show_default=True, help="2D input: gt, cpn, sh or a name of yours."),
        click.option("--data", type=THERE, required=True, help="The prepared folder."),
    ):
        command = option(command)
    return command


@contextmanager
def progress_bar(what: str, unit: str = "seq", total: int | None = None) -> Iterator[Callable[..., None]]:
    from tqdm import tqdm

    with tqdm(total=total, desc=what, unit=unit, disable=None, file=sys.stderr) as bar:
        yield lambda *_: bar.update() and None


def say_unpacked(tarball: Tarball, result: Unpacked) -> None:
    if result.written:
        click.echo(f"{tarball.path.name}: {result.written} files unpacked, {result.kept} were there", err=True)
