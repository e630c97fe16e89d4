"""`h36m download`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from h36m_toolbox.commands.options import FILE, FOLDER, Words


@click.command("download")
@click.argument("files", metavar="[FILE]...", nargs=-1)
@click.option("--to", "folder", metavar="DIR", type=FOLDER, help="Where the files go.  [required, but for --list]")
@click.option("--subjects", type=Words(), help="Only these subjects, such as S1,S9.")
@click.option("--cookie-file", type=FILE, help="Your session cookie.  [default: the environment variable H36M_COOKIE]")
@click.option("--list", "listing", is_flag=True, help="Say what there is, with licences and addresses.")
def command(
    files: tuple[str, ...],
    folder: Path | None,
    subjects: tuple[str, ...] | None,
    cookie_file: Path | None,
    listing: bool,
) -> None:
    """Download FILEs: poses, videos, masks of the official site, with your own session; detections by name.

    Resumes what was interrupted; checksums are compared before a file gets its name. `--list` names the files.
    """
    from h36m_toolbox.download.fetching import fetch
    from h36m_toolbox.download.index import index_table, requested
    from h36m_toolbox.download.session_cookie import cookie_from

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
