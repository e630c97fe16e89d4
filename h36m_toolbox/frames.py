"""Videos to frames, named as H36M-Toolbox names them: `images/s_01_act_02_subact_01_ca_01/..._ca_01_000001.jpg`.

One sequence is one folder. It is filled under a temporary name and renamed, then a manifest is written, so a run that
is killed at any moment leaves only whole sequences and the next run goes on from there to the same bytes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import cv2

from h36m_toolbox.errors import H36MError
from h36m_toolbox.files import folder_written_whole, written_whole
from h36m_toolbox.jobs import map_in_order
from h36m_toolbox.known_bad import UNREADABLE_VIDEOS
from h36m_toolbox.sequences import Sequence
from h36m_toolbox.videos import decoded_frames, jpegs, video_size

# Closer to the decoded video, over all samples, than ffmpeg's -qscale:v 3 (benchmarks/speed/extract_frames.py).
JPEG_QUALITY = 88


def image_name(sequence: Sequence, frame: int) -> str:
    """File name of a frame that counts from 0; the number in the name counts from 1."""
    return f"{sequence.folder}_{frame + 1:06d}.jpg"


@dataclass(frozen=True)
class ImageManifest:
    """What one extracted sequence holds and how it was made; a JSON file under `DATA/manifests/images/`."""

    folder: str
    video: str
    video_bytes: int
    every: int
    quality: int
    subsampling: str
    width: int
    height: int
    decoded_frames: int
    images: int
    image_bytes: int
    problem: str = ""  # why decoding stopped early, if it did


def read_manifest(data: Path, sequence: Sequence) -> ImageManifest | None:
    """The manifest of a sequence, None where it has not been extracted (or its manifest is unreadable)."""
    path = _manifest_path(data, sequence)
    try:
        return ImageManifest(**json.loads(path.read_text()))
    except (FileNotFoundError, json.JSONDecodeError, TypeError):
        return None


def images_on_disk(data: Path, sequence: Sequence) -> list[int]:
    """Frame numbers (from 0, ascending) whose image file exists, whoever extracted it."""
    folder = data / "images" / sequence.folder
    if not folder.is_dir():
        return []
    start, end = f"{sequence.folder}_", ".jpg"
    names = (entry.name for entry in os.scandir(folder))
    numbers = [name[len(start) : -len(end)] for name in names if name.startswith(start) and name.endswith(end)]
    return sorted(int(number) - 1 for number in numbers if number.isdigit())


@dataclass(frozen=True)
class _Job:
    sequence: Sequence
    video: Path


@dataclass(frozen=True)
class ExtractedSequence:
    """The outcome for one sequence; `state`: "written", "kept" (already complete), "planned" (dry run) or "failed"."""

    sequence: Sequence
    state: str
    manifest: ImageManifest | None
    problem: str = ""


def extract_frames(
    videos: dict[Sequence, Path],
    data: Path,
    every: int = 1,
    quality: int = JPEG_QUALITY,
    jobs: int = 1,
    dry_run: bool = False,
    progress: Callable[[ExtractedSequence], None] | None = None,
) -> list[ExtractedSequence]:
    """Write each `every`-th frame of the videos below `data/images`, a process a sequence.

    A sequence whose folder is complete for the same video and settings is kept. A video that cannot be decoded is
    reported in its outcome and the others go on; frames decoded before the damage are written.
    """
    if every < 1 or not 1 <= quality <= 100:
        raise H36MError(f"every must be 1 or more and quality 1 to 100; got {every} and {quality}")
    work = [_Job(sequence, video) for sequence, video in videos.items()]
    outcomes = []
    for outcome in map_in_order(partial(_extract, data, every, quality, dry_run), work, jobs):
        outcomes.append(outcome)
        if progress:
            progress(outcome)
    return outcomes


def _extract(data: Path, every: int, quality: int, dry_run: bool, job: _Job) -> ExtractedSequence:
    cv2.setNumThreads(1)
    manifest = read_manifest(data, job.sequence)
    if manifest and _is_complete(data, job, manifest, every, quality):
        return ExtractedSequence(job.sequence, "kept", manifest, manifest.problem)
    if dry_run:
        return ExtractedSequence(job.sequence, "planned", None)
    # The manifest vouches for the folder: it goes before the folder changes and comes after.
    _manifest_path(data, job.sequence).unlink(missing_ok=True)
    images = data / "images" / job.sequence.folder
    with folder_written_whole(images) as folder:
        filled = _fill(folder, job, every, quality)
    if filled.decoded == 0:
        images.rmdir()
    manifest = ImageManifest(
        folder=job.sequence.folder,
        video=job.video.name,
        video_bytes=job.video.stat().st_size,
        every=every,
        quality=quality,
        subsampling="4:2:0",
        width=filled.size[0],
        height=filled.size[1],
        decoded_frames=filled.decoded,
        images=filled.images,
        image_bytes=filled.image_bytes,
        problem=filled.problem,
    )
    with written_whole(_manifest_path(data, job.sequence)) as path:
        path.write_text(json.dumps(asdict(manifest), indent=1))
    return ExtractedSequence(job.sequence, "written" if filled.decoded else "failed", manifest, filled.problem)


@dataclass(frozen=True)
class _Filled:
    size: tuple[int, int]  # width, height, px; 0, 0 for a video without a frame
    decoded: int
    images: int
    image_bytes: int
    problem: str


def _fill(folder: Path, job: _Job, every: int, quality: int) -> _Filled:
    decoded = images = image_bytes = 0
    size, problem = (0, 0), ""
    try:
        size = video_size(job.video)
        for decoded, jpeg in enumerate(jpegs(decoded_frames(job.video), every, quality), start=1):
            if jpeg is not None:
                (folder / image_name(job.sequence, decoded - 1)).write_bytes(jpeg)
                images, image_bytes = images + 1, image_bytes + len(jpeg)
    except H36MError as error:
        problem = str(error)
    if decoded == 0:
        return _Filled((0, 0), 0, 0, 0, problem or f"{job.video}: holds no frame")
    return _Filled(size, decoded, images, image_bytes, problem)


def _is_complete(data: Path, job: _Job, manifest: ImageManifest, every: int, quality: int) -> bool:
    made_from = (manifest.video, manifest.video_bytes, manifest.every, manifest.quality)
    if made_from != (job.video.name, job.video.stat().st_size, every, quality) or not manifest.images:
        return False
    folder = data / "images" / job.sequence.folder
    sizes = [entry.stat().st_size for entry in os.scandir(folder)] if folder.is_dir() else []
    return (len(sizes), sum(sizes)) == (manifest.images, manifest.image_bytes)


def _manifest_path(data: Path, sequence: Sequence) -> Path:
    return data / "manifests" / "images" / f"{sequence.folder}.json"


@dataclass(frozen=True)
class ExtractionSummary:
    """What an extraction says at its end; `failed` counts videos that gave no frame and are not known to be bad."""

    lines: tuple[str, ...]
    failed: int


def extraction_summary(outcomes: list[ExtractedSequence], data: Path) -> ExtractionSummary:
    """Counts, every problem, and where the frames are. The one video that is unreadable in the official release is
    reported but is no failure."""
    lines = []
    failed = 0
    for outcome in outcomes:
        if outcome.problem:
            known = outcome.sequence in UNREADABLE_VIDEOS
            failed += not known
            lines.append(
                f"{outcome.sequence}: {outcome.problem}" + (" (known: it is so for everyone)" if known else "")
            )
    for state in ("written", "kept", "planned", "failed"):
        count = sum(outcome.state == state for outcome in outcomes)
        if count:
            lines.append(f"{count} sequences {state}")
    images = sum(outcome.manifest.images for outcome in outcomes if outcome.manifest)
    lines.append(f"{images:,} frames in {data / 'images'}")
    return ExtractionSummary(tuple(lines), failed)
