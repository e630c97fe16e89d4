"""The frames that mmpose's labels name: `DATA/labels/mmpose/images/S1/S1_Walking_1.54138969/..._000001.jpg`.

Either decoded as mmpose's script does it (OpenCV, JPEG quality 95: the same bytes with the same OpenCV build), or hard
links to the frames in `DATA/images`, whose bytes are those of `h36m extract` and therefore not mmpose's.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from h36m_toolbox.errors import H36MError
from h36m_toolbox.frames.stores import WHOLE_FRAMES, open_frames, stored_frames
from h36m_toolbox.jobs import map_in_order
from h36m_toolbox.known_bad import UNREADABLE_VIDEOS
from h36m_toolbox.poses import PoseFiles
from h36m_toolbox.raw.archive import Kind, RawArchive
from h36m_toolbox.sequences import Sequence
from h36m_toolbox.storage.files import folder_written_whole, written_whole

IMAGE_SOURCES = ("decode", "link")
_JPEG_QUALITY = 95


def mmpose_view(sequence: Sequence) -> str:
    """mmpose's name of a view, such as S1_Walking_1.54138969."""
    return f"{sequence.subject}_{sequence.recording.stem.replace(' ', '_')}.{sequence.camera}"


def mmpose_image_name(sequence: Sequence, frame: int) -> str:
    """An `imgname` of the labels; `frame` counts from 0 at 50 Hz, the number in the name from 1."""
    view = mmpose_view(sequence)
    return f"{sequence.subject}/{view}/{view}_{frame + 1:06d}.jpg"


def mmpose_images(data: Path) -> Path:
    """The folder that `imgname` is relative to."""
    return data / "labels" / "mmpose" / "images"


@dataclass(frozen=True)
class ViewImages:
    """What the folder of one view holds and how it was made; a JSON file under `DATA/manifests/mmpose/`.

    `decoded_frames`: frames of the video up to the last pose; when linked, images found. `poses` at 50 Hz.
    """

    source: str  # "decode" or "link"
    made_from: str  # the video, or the folder or shard of extracted frames
    made_from_bytes: int
    rates: tuple[int, ...]
    poses: int
    decoded_frames: int
    images: int
    image_bytes: int


def read_view_images(data: Path, sequence: Sequence) -> ViewImages | None:
    """The manifest of a view's images, None where none were written (or it is unreadable)."""
    try:
        values = json.loads(_manifest_path(data, sequence).read_text())
        return ViewImages(**{**values, "rates": tuple(values["rates"])})
    except (FileNotFoundError, json.JSONDecodeError, TypeError, KeyError):
        return None


@dataclass(frozen=True)
class MmposeImagesReport:
    """What lies below `path`: `sequences` are views with images, `rows` images; `lacking`: views that miss some."""

    path: Path
    sequences: int
    rows: int
    lacking: tuple[str, ...]
    damaged: tuple[str, ...]

    def differences(self) -> list[str]:
        """One line for each view of which images are missing."""
        return list(self.lacking)


@dataclass(frozen=True)
class _Job:
    files: PoseFiles
    video: Path | None


@dataclass(frozen=True)
class _Made:
    images: int = 0
    lacking: str = ""
    damage: str = ""


def write_mmpose_images(
    archive: RawArchive,
    files: list[PoseFiles],
    data: Path,
    source: str,
    rates: tuple[int, ...],
    jobs: int = 1,
    progress: Callable[[Sequence], None] | None = None,
) -> MmposeImagesReport:
    """Write the frames whose poses the labels of these `rates` (steps at 50 Hz) hold, a folder a view.

    `source` "decode" reads the videos of the archive (tarballs are unpacked below `DATA/raw`), "link" links the files
    of `DATA/images`, or copies them where they are packed. A view that is complete for the same video or frames and
    rates is kept. Views without video or image are reported; a video that gives no frame counts as damaged. Raises
    H36MError for another source, and where files cannot be linked.
    """
    if source not in IMAGE_SOURCES:
        raise H36MError(f"mmpose images: no source {source}; there are {' and '.join(IMAGE_SOURCES)}")
    if source == "link" and not (data / "images").is_dir():
        raise H36MError(
            f"{data / 'images'}: no frames to link; run `h36m extract RAW --out {data}` first, or write mmpose's own "
            "frames with --images decode"
        )
    if source == "decode":
        subjects = tuple(dict.fromkeys(item.sequence.subject for item in files))
        archive = archive.unpacked((Kind.VIDEO,), data / "raw", subjects)
    work = [_Job(item, _video(archive, item.sequence) if source == "decode" else None) for item in files]
    made = []
    for job, outcome in zip(work, map_in_order(partial(_write_view, data, source, rates), work, jobs), strict=True):
        made.append(outcome)
        if progress:
            progress(job.files.sequence)
    return MmposeImagesReport(
        mmpose_images(data),
        sum(outcome.images > 0 for outcome in made),
        sum(outcome.images for outcome in made),
        tuple(outcome.lacking for outcome in made if outcome.lacking),
        tuple(outcome.damage for outcome in made if outcome.damage),
    )


def _video(archive: RawArchive, sequence: Sequence) -> Path | None:
    return archive.path(sequence, Kind.VIDEO) if archive.has(sequence, Kind.VIDEO) else None


def _write_view(data: Path, source: str, rates: tuple[int, ...], job: _Job) -> _Made:
    cv2.setNumThreads(1)
    sequence = job.files.sequence
    if sequence in UNREADABLE_VIDEOS:
        return _Made(lacking=f"{sequence}: no images, its video is unreadable in the official release")
    try:
        poses = min(len(job.files.read_image()), len(job.files.read_camera()))
    except H36MError:
        return _Made()  # the labels tell of the damaged file
    if source == "decode" and job.video is None:
        return _Made(lacking=f"{sequence}: no images, its video is not in the archive")
    wanted = [frame for frame in range(poses) if any(frame % rate == 0 for rate in rates)]
    manifest = read_view_images(data, sequence)
    if manifest is None or not _is_complete(data, source, rates, poses, job, manifest):
        manifest = _filled(data, source, rates, poses, job, wanted)
    missing = len(wanted) - manifest.images
    if missing and source == "decode" and not manifest.images:
        return _Made(damage=f"{job.video}: OpenCV decodes no frame of it; get the file again")
    return _Made(manifest.images, f"{sequence}: {missing} of {len(wanted)} images are missing" if missing else "")


def _filled(data: Path, source: str, rates: tuple[int, ...], poses: int, job: _Job, wanted: list[int]) -> ViewImages:
    """Fill the folder of a view; its manifest goes before and comes after."""
    sequence = job.files.sequence
    manifest_path = _manifest_path(data, sequence)
    manifest_path.unlink(missing_ok=True)
    folder = mmpose_images(data) / sequence.subject / mmpose_view(sequence)
    with folder_written_whole(folder) as temporary:
        if job.video is None:
            decoded = _link_frames(temporary, data, sequence, wanted)
        else:
            decoded = _decode_frames(temporary, job.video, sequence, poses, set(wanted))
        images, image_bytes = _content(temporary)
    if not images:
        folder.rmdir()
    manifest = ViewImages(source, *_made_from(data, job), rates, poses, decoded, images, image_bytes)
    with written_whole(manifest_path) as path:
        path.write_text(json.dumps(asdict(manifest), indent=1))
    return manifest


def _decode_frames(folder: Path, video: Path, sequence: Sequence, poses: int, wanted: set[int]) -> int:
    """Write the wanted frames as mmpose's script does; the number of frames read, `poses` at most."""
    decoded = 0
    for decoded, picture in enumerate(islice(_pictures(video), poses), start=1):
        if decoded - 1 in wanted:
            _, jpeg = cv2.imencode(".jpg", picture, (cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY))
            (folder / Path(mmpose_image_name(sequence, decoded - 1)).name).write_bytes(jpeg.tobytes())
    return decoded


def _pictures(video: Path) -> Iterator[np.ndarray]:
    """Frames (h, w, 3), BGR, until OpenCV gives none: it does not tell a damaged video from one that ends."""
    capture = cv2.VideoCapture(str(video), cv2.CAP_FFMPEG, (cv2.CAP_PROP_N_THREADS, 1))
    try:
        while True:
            there, picture = capture.read()
            if not there:
                return
            yield picture
    finally:
        capture.release()


def _link_frames(folder: Path, data: Path, sequence: Sequence, wanted: list[int]) -> int:
    """Hard links to the wanted frames among those in `DATA/images`, copies where these are packed; frames there."""
    there = stored_frames(data, sequence)
    here = sorted(set(wanted).intersection(there))
    if not here:
        return len(there)
    frames = open_frames(data, sequence)
    for frame in here:
        link = folder / Path(mmpose_image_name(sequence, frame)).name
        if frames.pack is not None:
            link.write_bytes(frames.jpeg(frame))
            continue
        loose = WHOLE_FRAMES.folder(data, sequence) / WHOLE_FRAMES.file_name(sequence, frame)
        try:
            link.hardlink_to(loose)
        except OSError as error:
            raise H36MError(
                f"{loose}: cannot be linked below {mmpose_images(data)} ({error}); write the frames from the "
                "videos with --images decode"
            ) from error
    return len(there)


def _is_complete(data: Path, source: str, rates: tuple[int, ...], poses: int, job: _Job, manifest: ViewImages) -> bool:
    """Whether the folder still holds what its manifest says, and was made from the same for the same labels."""
    made = (manifest.source, manifest.made_from, manifest.made_from_bytes, manifest.rates, manifest.poses)
    if made != (source, *_made_from(data, job), rates, poses):
        return False
    folder = mmpose_images(data) / job.files.sequence.subject / mmpose_view(job.files.sequence)
    return _content(folder) == (manifest.images, manifest.image_bytes)


def _made_from(data: Path, job: _Job) -> tuple[str, int]:
    """Name and bytes of the video, or of the extracted frames where these are linked."""
    shard = WHOLE_FRAMES.shard(data, job.files.sequence)
    if job.video is not None or shard.is_file():
        file = job.video or shard
        return file.name, file.stat().st_size
    folder = WHOLE_FRAMES.folder(data, job.files.sequence)
    return folder.name, _content(folder)[1]


def _content(folder: Path) -> tuple[int, int]:
    """How many files a folder holds, and their bytes; none where it is not there."""
    sizes = [entry.stat().st_size for entry in os.scandir(folder)] if folder.is_dir() else []
    return len(sizes), sum(sizes)


def _manifest_path(data: Path, sequence: Sequence) -> Path:
    return data / "manifests" / "mmpose" / f"{sequence.folder}.json"
