"""Videos to frames, a process a sequence, into any store: H36M-Toolbox's or h36m-fetch's layout, loose or packed.

A sequence's frames are written under a temporary name and renamed, then a manifest is written, so a run that is killed
at any moment leaves only whole sequences and the next run goes on from there to the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2

from h36m_toolbox.errors import H36MError
from h36m_toolbox.frames.manifests import ImageManifest, manifest_path, read_manifest, write_manifest
from h36m_toolbox.frames.plans import ALL, FramePlan, PlanSource, crop_rule, frame_plan, selection
from h36m_toolbox.frames.stores import WHOLE_FRAMES, FrameStore
from h36m_toolbox.frames.undistortion import UNDISTORTED_QUALITY
from h36m_toolbox.frames.video_groups import chosen_frames
from h36m_toolbox.frames.videos import video_size
from h36m_toolbox.frames.writers import frame_encoder, frames_written_whole, remove_frames, stored_size
from h36m_toolbox.jobs import Jobs, map_in_order
from h36m_toolbox.known_bad import UNREADABLE_VIDEOS
from h36m_toolbox.sequences import Sequence

# Closer to the decoded video, over all samples, than ffmpeg's -qscale:v 3 (benchmarks/speed/extract_frames.py).
JPEG_QUALITY = 88


@dataclass(frozen=True)
class Recipe:
    """How frames are made: which ("every:N", "h36m-fetch" or "all"), into which store, loose or packed.

    `quality` is the JPEG files'; None: 88 for whole frames as filmed, the official 95 for undistorted ones and crops.
    Lossless crops are of whole frames of that quality, and always packed. Raises H36MError for what does not exist.
    """

    select: str = ALL
    store: FrameStore = WHOLE_FRAMES
    quality: int | None = None
    packed: bool = False

    def __post_init__(self) -> None:
        selection(self.select)
        crop_rule(self.store)
        if not 1 <= self.jpeg_quality <= 100:
            raise H36MError(f"the JPEG quality is 1 to 100; got {self.quality}")
        if self.store.lossless and not self.packed:
            raise H36MError(f"{self.store.name}: lossless crops lie in shards; ask for packed=True")

    @property
    def jpeg_quality(self) -> int:
        """The quality, whether it was given or not."""
        if self.quality is not None:
            return self.quality
        twice = self.store.crop and not self.store.lossless
        return UNDISTORTED_QUALITY if self.store.undistorted or twice else JPEG_QUALITY


@dataclass(frozen=True)
class _Job:
    sequence: Sequence
    video: Path
    source: PlanSource | None


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
    recipe: Recipe | None = None,
    sources: dict[Sequence, PlanSource] | None = None,
    jobs: Jobs = 1,
    dry_run: bool = False,
    progress: Callable[[ExtractedSequence], None] | None = None,
) -> list[ExtractedSequence]:
    """Write the frames of the videos that a recipe (default: all, as the Toolbox names them) asks for, a process a
    sequence; `sources` (see `plan_sources`) for selections and crops that stand on poses or masks.

    A sequence that is complete for the same video, poses and settings is kept. A video that cannot be decoded is
    reported in its outcome and the others go on; frames decoded before the damage are written.
    """
    recipe = recipe or Recipe()
    work = [_Job(sequence, video, (sources or {}).get(sequence)) for sequence, video in videos.items()]
    outcomes = []
    for outcome in map_in_order(partial(_extract, data, recipe, dry_run), work, jobs):
        outcomes.append(outcome)
        if progress:
            progress(outcome)
    return outcomes


def _extract(data: Path, recipe: Recipe, dry_run: bool, job: _Job) -> ExtractedSequence:
    cv2.setNumThreads(1)
    try:
        plan = frame_plan(job.source, recipe.select, recipe.store)
    except H36MError as error:
        return ExtractedSequence(job.sequence, "failed", None, str(error))
    manifest = read_manifest(data, job.sequence, recipe.store)
    if manifest and _is_complete(data, job, recipe, plan, manifest):
        return ExtractedSequence(job.sequence, "kept", manifest, manifest.problem)
    if dry_run:
        return ExtractedSequence(job.sequence, "planned", None)
    # The manifest vouches for the frames: it goes before they change and comes after.
    manifest_path(data, job.sequence, recipe.store).unlink(missing_ok=True)
    filled = _fill(data, job, recipe, plan)
    if filled.decoded == 0:
        remove_frames(data, job.sequence, recipe.store)
    stored = stored_size(data, job.sequence, recipe.store, recipe.packed)
    manifest = ImageManifest(
        folder=job.sequence.folder,
        video=job.video.name,
        video_bytes=job.video.stat().st_size,
        select=selection(recipe.select),
        quality=recipe.jpeg_quality,
        subsampling="4:2:0",
        width=filled.size[0],
        height=filled.size[1],
        decoded_frames=filled.decoded,
        images=stored.images if stored else 0,
        image_bytes=stored.bytes if stored else 0,
        problem=filled.problem,
        packed=recipe.packed,
        inputs_sha256=plan.inputs_sha256,
    )
    write_manifest(data, job.sequence, recipe.store, manifest)
    return ExtractedSequence(job.sequence, "written" if filled.decoded else "failed", manifest, filled.problem)


@dataclass(frozen=True)
class _Filled:
    size: tuple[int, int]  # width, height, px; 0, 0 for a video without a frame
    decoded: int
    problem: str


def _fill(data: Path, job: _Job, recipe: Recipe, plan: FramePlan) -> _Filled:
    decoded, written, size, problem = 0, 0, (0, 0), ""
    quality, store = recipe.jpeg_quality, recipe.store
    with frames_written_whole(data, job.sequence, store, quality, recipe.packed, plan.boxes) as add:
        try:
            # lossless crops are cut from the whole frames' files, when these are added
            encode = frame_encoder(job.sequence, store, quality, None if store.lossless else plan.boxes)
            for decoded, frame in enumerate(chosen_frames(job.video, plan.wanted), start=1):
                if frame is not None:
                    size = frame.width, frame.height
                    add(decoded - 1, encode(decoded - 1, frame))
                    written += 1
            size = size if written else video_size(job.video)
        except H36MError as error:
            problem = str(error)
    if decoded == 0 or (problem and not written):
        return _Filled((0, 0), 0, problem or f"{job.video}: holds no frame")
    return _Filled(store.crop_size or size, decoded, problem)


def _is_complete(data: Path, job: _Job, recipe: Recipe, plan: FramePlan, manifest: ImageManifest) -> bool:
    found = (manifest.video, manifest.video_bytes, manifest.select, manifest.quality, manifest.packed)
    asked = (job.video.name, job.video.stat().st_size, selection(recipe.select), recipe.jpeg_quality, recipe.packed)
    if found != asked or manifest.inputs_sha256 != plan.inputs_sha256 or not manifest.decoded_frames:
        return False
    stored = stored_size(data, job.sequence, recipe.store, recipe.packed)
    return stored is not None and (stored.images, stored.bytes) == (manifest.images, manifest.image_bytes)


@dataclass(frozen=True)
class ExtractionSummary:
    """What an extraction says at its end; `failed` counts videos that gave no frame and are not known to be bad."""

    lines: tuple[str, ...]
    failed: int


def extraction_summary(
    outcomes: list[ExtractedSequence], data: Path, store: FrameStore = WHOLE_FRAMES
) -> ExtractionSummary:
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
    lines.append(f"{images:,} frames in {store.root(data)}")
    return ExtractionSummary(tuple(lines), failed)
