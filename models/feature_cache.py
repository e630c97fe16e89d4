"""Maps of a frozen backbone on disk, so that training the transformer runs the backbone once a frame and side.

One folder: for each side and level an npy file (rows, channels, height, width), float32, which is what the backbone
gives, so that a score does not change. That is large: 1.5 MB a frame on HRNet-W32, both sides.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.lib.format import open_memmap

from h36m_toolbox.errors import H36MError
from h36m_toolbox.models.ca_poseformer import CAPoseFormer
from h36m_toolbox.models.poseformer_data import PoseFormerRows, Read
from h36m_toolbox.models.poseformer_inputs import PoseFormerBatch, normalised
from h36m_toolbox.storage.files import folder_written_whole

_SIDES = ("maps", "mirror_maps")


@dataclass(frozen=True, eq=False)  # arrays have no single ==
class FeatureCache:
    """Maps of rows, by side and level, read from disk where they are asked for."""

    rows: PoseFormerRows
    sides: tuple[tuple[np.ndarray, ...], ...]  # for each side the levels, (rows, channels, height, width) memory maps

    def batches(self, parts: Iterable[np.ndarray], pinned: bool = False) -> Iterator[PoseFormerBatch]:
        """As `poseformer_data.batches`, with maps in place of crops."""
        for part in parts:
            some = self.rows.taken(part)
            maps, mirror_maps = (tuple(torch.from_numpy(level[part]) for level in levels) for levels in self.sides)
            no_images = torch.empty(len(part), 1, 1, 3, dtype=torch.uint8)
            batch = PoseFormerBatch(no_images, *some.tensors(), maps, mirror_maps)
            yield batch.pinned() if pinned else batch


def cached_features(
    model: CAPoseFormer, rows: PoseFormerRows, read: Read, folder: Path, device: str, batch_size: int, store: str
) -> FeatureCache:
    """The maps of all rows, from `folder` where they are there, else computed and written there, whole or not at all.

    The folder's name gets a hash of the backbone's weights, the rows and the frames' `store`. Raises H36MError for a
    model whose backbone follows the batches, and where the disk is too small.
    """
    if model.config.variant == "3dhp":
        raise H36MError("cache_features: the backbone of variant 3dhp changes while it trains; train without")
    place = folder / _digest(model, rows, store)
    if not place.is_dir():
        model.to(device).eval()
        with folder_written_whole(place) as temporary:
            _fill(model, len(rows), read, temporary, device, batch_size)
    levels = len(model.backbone.widths)
    return FeatureCache(
        rows, tuple(tuple(np.load(place / _file(side, n), mmap_mode="r") for n in range(levels)) for side in _SIDES)
    )


def _fill(model: CAPoseFormer, rows: int, read: Read, folder: Path, device: str, batch_size: int) -> None:
    files: dict[str, np.ndarray] = {}
    done = 0
    for batch in read([np.arange(start, min(start + batch_size, rows)) for start in range(0, rows, batch_size)]):
        on_device = batch.to(device)
        for side, seen in zip(_SIDES, (on_device, on_device.mirrored()), strict=True):
            with torch.inference_mode():
                maps = model.backbone(normalised(seen.images, model.config.backbone))
            if not done and side == _SIDES[0]:
                _check_space(folder, sum(each[0].numel() for each in maps) * 4 * rows * len(_SIDES))
            for level, each in enumerate(maps):
                name = _file(side, level)
                if name not in files:
                    files[name] = open_memmap(folder / name, "w+", np.float32, (rows, *each.shape[1:]))
                files[name][done : done + len(batch)] = each.float().cpu().numpy()
        done += len(batch)
    for values in files.values():
        values.flush()  # type: ignore[attr-defined]


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise H36MError(
            f"{folder.parent}: {needed / 1e9:.1f} GB of features do not fit into {free / 1e9:.1f} GB; train on fewer "
            "frames (--every N), or without the cache"
        )


def _file(side: str, level: int) -> str:
    return f"{side}-{level}.npy"


def _digest(model: CAPoseFormer, rows: PoseFormerRows, store: str) -> str:
    digest = hashlib.sha256(f"{model.config.backbone} {store}".encode())
    for values in model.backbone.state_dict().values():
        digest.update(values.cpu().numpy().tobytes())
    for array in (rows.keys, rows.boxes):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]
