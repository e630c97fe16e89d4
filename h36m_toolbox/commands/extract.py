"""`h36m extract`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from h36m_toolbox.commands.options import FOLDER, Words, jobs_option, progress_bar, say_unpacked


@click.command("extract")
@click.argument("raw", metavar="RAW", type=FOLDER)
@click.option("--out", "data", metavar="DATA", type=FOLDER, required=True, help="The prepared folder.")
@click.option("--every", type=click.IntRange(1), default=1, show_default=True, help="Each n-th frame, from the first.")
@click.option("--quality", type=click.IntRange(1, 100), default=88, show_default=True, help="JPEG quality.")
@click.option("--subjects", type=Words(), help="Only these subjects, such as S1,S9.")
@click.option("--actions", type=Words(), help="Only these actions, such as Walking,TakingPhoto.")
@click.option("--cameras", type=Words(), help="Only these cameras, such as 54138969.")
@click.option("--dry-run", is_flag=True, help="Say what would be done.")
@jobs_option
def command(raw: Path, data: Path, dry_run: bool, jobs: int, every: int, quality: int, **only: Any) -> None:
    """Videos to frames: DATA/images/s_01_act_02_subact_01_ca_01/..._000001.jpg."""
    from h36m_toolbox.archive import Kind
    from h36m_toolbox.frames import extract_frames, extraction_summary
    from h36m_toolbox.raw_inputs import open_raw, videos_to_extract

    archive = open_raw(raw, data, (Kind.VIDEO,), progress=say_unpacked)
    videos = videos_to_extract(archive, **{name: words for name, words in only.items() if words})
    with progress_bar("extract", total=len(videos)) as step:
        outcomes = extract_frames(videos, data, every, quality, jobs, dry_run, step)
    summary = extraction_summary(outcomes, data)
    click.echo("\n".join(summary.lines))
    if summary.failed:
        raise click.exceptions.Exit(1)
