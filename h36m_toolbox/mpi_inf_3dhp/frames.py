"""Frames of MPI-INF-3DHP as JPEG files, whole or as Context-Aware PoseFormer's crops, a process a view.

`DATA/mpi-inf-3dhp/images/s_01_seq_01_ca_00/s_01_seq_01_ca_00_000001.jpg` of videos, `.../images/TS1/TS1_000001.jpg` of
test images, numbers from 1; crops in `crops/` beside `images/`. A view's folder arrives whole, with a `manifest.json`
that vouches for it, so a run that was killed goes on where it was.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import simplejpeg

from h36m_toolbox.errors import H36MError
from h36m_toolbox.frames.extraction import JPEG_QUALITY
from h36m_toolbox.frames.undistortion import UNDISTORTED_QUALITY
from h36m_toolbox.frames.video_groups import chosen_frames
from h36m_toolbox.frames.videos import bgr_image, encoded, full_range_planes
from h36m_toolbox.jobs import Jobs, map_in_order
from h36m_toolbox.mpi_inf_3dhp.annotations import read_test_annotations
from h36m_toolbox.mpi_inf_3dhp.archive import Archive, TestSequence, TrainSequence
from h36m_toolbox.mpi_inf_3dhp.crops import crop_affines, crop_camera, crop_camera_of_test_set, crop_image
from h36m_toolbox.mpi_inf_3dhp.sequences import TRAIN_RECORDINGS, image_size
from h36m_toolbox.mpi_inf_3dhp.views import prepared_path, read_views
from h36m_toolbox.skeletons import MPI_INF_3DHP_17, MPI_INF_3DHP_28
from h36m_toolbox.storage.files import folder_written_whole

MANIFEST_NAME = "manifest.json"


@dataclass(frozen=True)
class FrameRecipe:
    """Which frames (each `every`-th from the first) and how: whole or cropped, at what JPEG quality.

    `quality` None: 88 for whole frames, 95 for crops. Whole test images are copied as they are.
    """

    every: int = 1
    crop: bool = False
    quality: int | None = None

    @property
    def jpeg_quality(self) -> int:
        """The quality, whether it was given or not."""
        return self.quality or (UNDISTORTED_QUALITY if self.crop else JPEG_QUALITY)


@dataclass(frozen=True)
class ViewManifest:
    """What a view's folder holds and how it was made."""

    source: str  # the video's name, or that of the folder of images
    source_bytes: int  # of the video; of the annotations where there is none
    every: int
    crop: bool
    quality: int
    frames: int = 0  # that the view has, chosen or not
    images: int = 0
    problem: str = ""


@dataclass(frozen=True)
class ExtractedView:
    """The outcome for one view; `state`: "written", "kept" (already complete) or "failed"."""

    folder: Path
    state: str
    images: int = 0
    problem: str = ""


@dataclass(frozen=True)
class _Job:
    sequence: TrainSequence | TestSequence
    camera: int | None  # of a training view


def view_name(sequence: str, camera: int | None = None) -> str:
    """Of a view's folder and the stem of its files: s_01_seq_01_ca_00 of S1/Seq1 and camera 0, TS1 of TS1."""
    if camera is None:
        return sequence
    return f"s_{int(sequence[1]):02d}_seq_{int(sequence[-1]):02d}_ca_{camera:02d}"


def frame_path(data: Path, store: str, view: str, frame: int) -> Path:
    """Where a frame (from 0) of a view lies in DATA; `store` is "images" or "crops"."""
    return prepared_path(data, store, view, f"{view}_{frame + 1:06d}.jpg")


def read_manifest(folder: Path) -> ViewManifest | None:
    """The manifest of a view's folder; None where it has not been extracted."""
    try:
        return ViewManifest(**json.loads((folder / MANIFEST_NAME).read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def extract_views(
    archive: Archive,
    data: Path,
    cameras: tuple[int, ...],
    recipe: FrameRecipe | None = None,
    jobs: Jobs = 1,
    progress: Callable[[ExtractedView], None] | None = None,
) -> list[ExtractedView]:
    """Write the frames of every video of these cameras and of the test images that are there.

    Views that are complete for the same recipe are kept. One that cannot be read is reported and the others go on;
    frames decoded before the damage are written. Frames beyond the publisher's count are left out.
    """
    work = [
        *(_Job(item, camera) for item in archive.train for camera in item.videos if camera in cameras),
        *(_Job(item, None) for item in archive.test if item.images.is_dir()),
    ]
    if not work:
        raise H36MError(f"{archive.root}: no video of these cameras and no test images; unpack vnect_cameras.zip first")
    outcomes = []
    for outcome in map_in_order(partial(_extract, data, recipe or FrameRecipe()), work, jobs):
        outcomes.append(outcome)
        if progress:
            progress(outcome)
    return outcomes


def _extract(data: Path, recipe: FrameRecipe, job: _Job) -> ExtractedView:
    cv2.setNumThreads(1)
    name = view_name(job.sequence.name, job.camera)
    folder = prepared_path(data, "crops" if recipe.crop else "images", name)
    source = _source(job)
    plan = ViewManifest(source.name, source.stat().st_size, recipe.every, recipe.crop, recipe.jpeg_quality)
    if source.suffix == ".mat":
        plan = replace(plan, source=job.sequence.folder.name)
    kept = _kept(folder, plan)
    if kept:
        return ExtractedView(folder, "kept", kept.images, kept.problem)
    frames, images, problem = 0, 0, ""
    try:
        affines = _affines(job) if recipe.crop else None
        with folder_written_whole(folder) as temporary:
            try:
                for frames, jpeg in enumerate(_jpegs(job, recipe, affines), start=1):
                    if jpeg is not None:
                        (temporary / f"{name}_{frames:06d}.jpg").write_bytes(jpeg)
                        images += 1
            except H36MError as error:
                problem = str(error)
                if not images:
                    raise
            made = replace(plan, frames=frames, images=images, problem=problem)
            (temporary / MANIFEST_NAME).write_text(json.dumps(asdict(made), indent=1))
    except H36MError as error:
        return ExtractedView(folder, "failed", 0, str(error))
    return ExtractedView(folder, "written", images, problem)


def _source(job: _Job) -> Path:
    if isinstance(job.sequence, TrainSequence) and job.camera is not None:
        return job.sequence.videos[job.camera]
    return job.sequence.annotations


def _kept(folder: Path, plan: ViewManifest) -> ViewManifest | None:
    found = read_manifest(folder)
    if found is None:
        return None
    same = replace(found, frames=0, images=0, problem="") == plan
    return found if same and sum(1 for _ in folder.glob("*.jpg")) == found.images else None


def _affines(job: _Job) -> np.ndarray:
    if isinstance(job.sequence, TrainSequence) and job.camera is not None:
        view = read_views(job.sequence, (job.camera,)).views[job.camera]
        poses = MPI_INF_3DHP_28.select(view.universal, MPI_INF_3DHP_17.joints)
        return crop_affines(crop_camera(job.camera), poses)
    poses = read_test_annotations(job.sequence.annotations, job.sequence.name).universal
    return crop_affines(crop_camera_of_test_set(job.sequence.name), poses)


def _jpegs(job: _Job, recipe: FrameRecipe, affines: np.ndarray | None) -> Iterator[bytes | None]:
    """The JPEG file of each frame from the first, None for one that was not chosen."""
    if isinstance(job.sequence, TrainSequence) and job.camera is not None:
        limit = TRAIN_RECORDINGS[job.sequence.name].frames
        wanted = range(0, limit if affines is None else min(limit, len(affines)), recipe.every)
        for number, frame in enumerate(chosen_frames(job.sequence.videos[job.camera], wanted)):
            if number >= limit:
                return
            if frame is None:
                yield None
                continue
            planes = full_range_planes(frame)
            yield (
                encoded(planes, recipe.jpeg_quality)
                if affines is None
                else _cropped(bgr_image(planes), job, affines[number], recipe)
            )
    elif isinstance(job.sequence, TestSequence):
        yield from _test_jpegs(job, job.sequence, recipe, affines)


def _test_jpegs(
    job: _Job, sequence: TestSequence, recipe: FrameRecipe, affines: np.ndarray | None
) -> Iterator[bytes | None]:
    number = 0
    while (path := sequence.images / f"img_{number + 1:06d}.jpg").is_file():
        if number % recipe.every or (affines is not None and number >= len(affines)):
            yield None
        elif affines is None:
            yield path.read_bytes()
        else:
            yield _cropped(_decoded(path), job, affines[number], recipe)
        number += 1
    images = sum(1 for _ in sequence.images.glob("img_*.jpg"))
    if images != number or not images:
        raise H36MError(f"{path}: is not there, with {images:,} images beside it; unpack the test set again")


def _decoded(path: Path) -> np.ndarray:
    try:
        return np.asarray(simplejpeg.decode_jpeg(path.read_bytes(), "BGR"))
    except ValueError as error:
        raise H36MError(f"{path}: cannot be read as a JPEG file ({error}); unpack the test set again") from error


def _cropped(image: np.ndarray, job: _Job, affine: np.ndarray, recipe: FrameRecipe) -> bytes:
    size, expected = (image.shape[1], image.shape[0]), image_size(job.sequence.name)
    if size != expected:
        raise H36MError(
            f"{job.sequence.folder}: its images are {size[0]} x {size[1]} px, the annotations are for "
            f"{expected[0]} x {expected[1]}; crops need the original's images"
        )
    crop = np.ascontiguousarray(crop_image(image, affine))
    return bytes(simplejpeg.encode_jpeg(crop, recipe.jpeg_quality, "BGR", "420"))


def extraction_lines(outcomes: list[ExtractedView]) -> list[str]:
    """What an extraction says at its end."""
    folders = {outcome.folder.parent for outcome in outcomes if outcome.state != "failed"}
    states = {state: [item for item in outcomes if item.state == state] for state in ("written", "kept", "failed")}
    counts = ", ".join(
        f"{len(items)} views {state} ({sum(item.images for item in items):,} images)"
        for state, items in states.items()
        if items
    )
    places = [f"in {folder}" for folder in sorted(folders)]
    return [counts, *places, *(item.problem for item in outcomes if item.problem)]
