"""What was extracted of each sequence and how: a JSON file a sequence and store below `DATA/manifests/`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from h36m_toolbox.frames.stores import WHOLE_FRAMES, FrameStore
from h36m_toolbox.sequences import Sequence
from h36m_toolbox.storage.files import written_whole


@dataclass(frozen=True)
class ImageManifest:
    """What one extracted sequence holds and how it was made; `DATA/manifests/<store>/<sequence>.json`."""

    folder: str
    video: str
    video_bytes: int
    select: str  # "every:N" or "h36m-fetch"
    quality: int
    subsampling: str
    width: int  # of the images, px
    height: int
    decoded_frames: int  # that the video has, whether they were selected or not
    images: int
    image_bytes: int  # of the JPEG files, or of the shard
    problem: str = ""  # why decoding stopped early, if it did
    packed: bool = False
    inputs_sha256: str = ""  # of the frames and boxes that came from poses or masks, of lossless crops the images too
    made_from: str = ""  # the store in DATA whose images were cut; "" where they came from the video


def read_manifest(data: Path, sequence: Sequence, store: FrameStore = WHOLE_FRAMES) -> ImageManifest | None:
    """The manifest of a sequence, None where it has not been extracted (or its manifest is unreadable)."""
    try:
        return ImageManifest(**json.loads(manifest_path(data, sequence, store).read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def write_manifest(data: Path, sequence: Sequence, store: FrameStore, manifest: ImageManifest) -> None:
    """Write a manifest, which vouches for the frames: they must be in place."""
    with written_whole(manifest_path(data, sequence, store)) as path:
        path.write_text(json.dumps(asdict(manifest), indent=1))


def manifest_path(data: Path, sequence: Sequence, store: FrameStore) -> Path:
    """Where the manifest of a sequence lies."""
    return data / "manifests" / store.name / f"{sequence.folder}.json"
