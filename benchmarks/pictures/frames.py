"""The frames behind a skeleton: those of a DATA folder, whole or undistorted, or of a video."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from h36m_toolbox.errors import H36MError
from h36m_toolbox.frames.stores import LAYOUTS, FrameStore, open_frames, stored_frames
from h36m_toolbox.frames.videos import decoded_frames
from h36m_toolbox.sequences import Sequence

_STORES = tuple(FrameStore(layout, undistorted) for undistorted in (False, True) for layout in LAYOUTS)


@dataclass(frozen=True)
class FrameSource:
    """Where images come from. `read` takes frame numbers that ascend from 0 and gives RGB uint8 (height, width, 3), or
    None for a frame that is not there; `undistorted` says that the lens' distortion was taken out of them."""

    read: Callable[[Iterable[int]], Iterator[np.ndarray | None]]
    undistorted: bool = False


def frames_of_data(data: Path, sequence: Sequence) -> FrameSource:
    """The whole frames of a sequence in the first store of DATA that has any, loose or packed.

    Reading raises H36MError for an image that cannot be decoded.
    """
    store = next((store for store in _STORES if stored_frames(data, sequence, store)), None)
    if store is None:
        return FrameSource(lambda numbers: (None for _ in numbers))
    frames = open_frames(data, sequence, store)
    there = frozenset(frames.frames)
    return FrameSource(
        lambda numbers: (frames.image(number) if number in there else None for number in numbers), store.undistorted
    )


def frames_of_video(video: Path) -> FrameSource:
    """The frames of a video, decoded from its start each time; None after its end.

    Reading raises H36MError where the file is no video or is damaged before a frame that is asked for.
    """
    if not video.is_file():
        raise H36MError(
            f"{video}: no such file; give the video of the sequence, such as S9/Videos/Walking.54138969.mp4"
        )

    def read(numbers: Iterable[int]) -> Iterator[np.ndarray | None]:
        decoded = enumerate(decoded_frames(video))
        for wanted in numbers:
            found = next((frame for number, frame in decoded if number == wanted), None)
            yield None if found is None else found.to_ndarray(format="rgb24")

    return FrameSource(read)
