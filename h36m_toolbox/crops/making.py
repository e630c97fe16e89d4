"""Lossless crops of the frames that DATA holds, a process a sequence.

A sequence's shard is written under a temporary name and renamed, then its manifest is written; one whose images and
boxes are still the same is kept.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterable
from collections.abc import Sequence as SequenceABC
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from h36m_toolbox.errors import H36MError
from h36m_toolbox.frames.crops import Box
from h36m_toolbox.frames.lossless_shards import LosslessCrop, lossless_written_whole
from h36m_toolbox.frames.manifests import ImageManifest, manifest_path, read_manifest, write_manifest
from h36m_toolbox.frames.stores import Frames, FrameStore, making, open_frames, stored_frames
from h36m_toolbox.frames.writers import box_of, stored_size
from h36m_toolbox.jobs import Jobs, map_in_order
from h36m_toolbox.sequences import Sequence

# From a sequence's frames to what cuts one (from 0) by its box: (height, width, 3) uint8 RGB.
Cutter = Callable[[Frames], Callable[[int, Box], np.ndarray]]


@dataclass(frozen=True, eq=False)  # arrays have no single ==
class SequenceBoxes:
    """Frames of one sequence, and the box of each: some 40 bytes a frame."""

    sequence: Sequence
    frames: np.ndarray  # (n,) from 0, ascending
    boxes: np.ndarray  # (n, 4) left, top, right, bottom, px float64

    def taken(self, rows: np.ndarray) -> SequenceBoxes:
        """Some of the frames, by index or mask."""
        return replace(self, frames=self.frames[rows], boxes=self.boxes[rows])


@dataclass(frozen=True)
class MadeCrops:
    """The outcome for one sequence; `state`: "written", "kept" (already there), "absent" (no frames) or "failed"."""

    sequence: Sequence
    state: str
    crops: int = 0
    bytes: int = 0
    problem: str = ""


@dataclass(frozen=True)
class CropRecipe:
    """Into which store, of which whole frames (the first of these stores that holds most), how, and every which frame.

    Shards hold only labelled frames whose number is a multiple of `every`.
    """

    store: FrameStore
    sources: tuple[FrameStore, ...]
    cutter: Cutter
    every: int = 1


def make_crops(
    data: Path,
    recipe: CropRecipe,
    boxes: Iterable[SequenceBoxes],
    jobs: Jobs = 1,
    progress: Callable[[MadeCrops], None] | None = None,
) -> list[MadeCrops]:
    """Cut what the boxes show of the frames in DATA and keep it; labelled frames without an image are left out.

    A damaged image fails its sequence, which is reported in its outcome, and the others go on. Raises H36MError, with
    the command that makes frames, where DATA holds none at all.
    """
    outcomes = []
    work: SequenceABC[SequenceBoxes] = list(boxes)
    for outcome in map_in_order(partial(_made, data, recipe), work, jobs):
        outcomes.append(outcome)
        if progress:
            progress(outcome)
    if all(outcome.state == "absent" for outcome in outcomes):
        whole = recipe.sources[0]
        raise H36MError(f"{whole.root(data)}: holds none of the labelled frames; {making(data, whole)}")
    return outcomes


def _made(data: Path, recipe: CropRecipe, labelled: SequenceBoxes) -> MadeCrops:
    cv2.setNumThreads(1)
    sequence, store = labelled.sequence, recipe.store
    try:
        labelled = labelled.taken(labelled.frames % recipe.every == 0)
        found = _source(data, recipe, labelled)
        if found is None:
            return MadeCrops(sequence, "absent")
        frames, labelled = found
        wanted = _manifest(data, recipe, frames, labelled)
        before = read_manifest(data, sequence, store)
        stored = stored_size(data, sequence, store, packed=True)
        if before is not None and stored is not None and before == replace(wanted, image_bytes=stored.bytes):
            return MadeCrops(sequence, "kept", stored.images, stored.bytes)
        # The manifest vouches for the crops: it goes before they change and comes after.
        manifest_path(data, sequence, store).unlink(missing_ok=True)
        _write(data, recipe, frames, labelled)
    except H36MError as error:
        return MadeCrops(sequence, "failed", problem=str(error))
    stored = stored_size(data, sequence, store, packed=True)
    assert stored is not None
    write_manifest(data, sequence, store, replace(wanted, image_bytes=stored.bytes))
    return MadeCrops(sequence, "written", stored.images, stored.bytes)


def _source(data: Path, recipe: CropRecipe, labelled: SequenceBoxes) -> tuple[Frames, SequenceBoxes] | None:
    """The whole frames, and those of the labelled frames that they have; None for none."""
    stored = {whole: stored_frames(data, labelled.sequence, whole) for whole in recipe.sources}
    there = {whole: np.isin(labelled.frames, frames) for whole, frames in stored.items()}
    most = max(there, key=lambda whole: int(there[whole].sum()))  # the first of several, as their order says
    if not there[most].any():
        return None
    return open_frames(data, labelled.sequence, most), labelled.taken(there[most])


def _manifest(data: Path, recipe: CropRecipe, frames: Frames, labelled: SequenceBoxes) -> ImageManifest:
    """What the manifest of the crops says, but for their size: it changes with images and boxes."""
    sequence, size = labelled.sequence, recipe.store.crop_size or (0, 0)
    whole = stored_size(data, sequence, frames.store, frames.pack is not None)
    digest = hashlib.sha256()
    digest.update(np.ascontiguousarray(labelled.frames, np.int64).tobytes())
    digest.update(np.ascontiguousarray(labelled.boxes, np.float64).tobytes())
    digest.update(frames.jpeg(int(labelled.frames[0])))
    digest.update(repr(whole).encode())
    made = read_manifest(data, sequence, frames.store)
    return ImageManifest(
        folder=sequence.folder,
        video=made.video if made else "",
        video_bytes=made.video_bytes if made else 0,
        select=f"every:{recipe.every}",
        quality=made.quality if made else 0,
        subsampling="",
        width=size[0],
        height=size[1],
        decoded_frames=whole.images if whole else 0,
        images=len(labelled.frames),
        image_bytes=0,
        packed=True,
        inputs_sha256=digest.hexdigest(),
        made_from=frames.store.name,
    )


def _write(data: Path, recipe: CropRecipe, frames: Frames, labelled: SequenceBoxes) -> None:
    store, sequence = recipe.store, labelled.sequence
    about: dict[str, str | int] = {"store": store.name, "made_from": frames.store.name}
    with lossless_written_whole(store.shard(data, sequence), sequence, store.crop_size or (0, 0), about) as writer:
        cut = recipe.cutter(frames)
        for row, frame in enumerate(labelled.frames.tolist()):
            box = box_of(labelled.boxes, row)
            crc32 = zlib.crc32(frames.jpeg(frame))
            writer.add(LosslessCrop(frame, cut(frame, box), box, crc32))


def crop_lines(outcomes: list[MadeCrops], data: Path, store: FrameStore) -> list[str]:
    """Problems, counts and what there is now."""
    lines = [f"{each.sequence}: {each.problem}" for each in outcomes if each.problem]
    for state, said in {"written": "written", "kept": "kept", "absent": "without frames", "failed": "failed"}.items():
        count = sum(outcome.state == state for outcome in outcomes)
        if count:
            lines.append(f"{count} sequences {said}")
    crops, size = sum(outcome.crops for outcome in outcomes), sum(outcome.bytes for outcome in outcomes)
    return [*lines, f"{crops:,} crops, {size / 1e9:.3g} GB, in {store.root(data)}"]
