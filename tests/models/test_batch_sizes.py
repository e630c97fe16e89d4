"""A GPU whose memory ends: batches go on in pieces, with the same poses, for every kind of model."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pytest
import torch
from torch import nn

from h36m_toolbox.errors import H36MError
from h36m_toolbox.models import lifting, poseformer_inference
from h36m_toolbox.models import patch_models as patches_of
from h36m_toolbox.models.batch_sizes import batch_size_for
from h36m_toolbox.models.crop_models import FromCrops
from h36m_toolbox.models.patch_models import FromPatches, patch_predictor
from h36m_toolbox.models.poseformer_inputs import PoseFormerBatch
from h36m_toolbox.pose_datasets.patches import Patch
from h36m_toolbox.skeletons import H36M_17, INTEGRAL_18

COUNT = 11
RANDOM = np.random.default_rng(0)
PATCHES = RANDOM.integers(0, 256, (COUNT, 64, 64, 3), dtype=np.uint8)
CROPS = torch.from_numpy(RANDOM.integers(0, 256, (COUNT, 8, 6, 3), dtype=np.uint8))
JOINTS = RANDOM.normal(size=(COUNT, 17, 2)).astype(np.float32)


class Limited(nn.Module):
    """Poses of each sample alone, for at most `room` samples at once; notes the sizes of its batches."""

    def __init__(self, joints: int, room: int) -> None:
        super().__init__()
        self.joints, self.room = joints, room
        self.batches: list[int] = []

    def forward(self, first: torch.Tensor, *rest: object) -> torch.Tensor:
        if len(first) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate a lot\nof it")
        self.batches.append(len(first))
        scale = torch.arange(1, 3 * self.joints + 1).view(1, self.joints, 3)
        return first.float().flatten(1)[:, :12].cumsum(1)[:, -1].view(-1, 1, 1) * scale


def _patches(room: int) -> tuple[Limited, np.ndarray]:
    model = Limited(len(INTEGRAL_18), room)
    predict = patch_predictor([model], FromPatches(Patch(64, 64)), flip=True)
    return model, patches_of.predict_patches(predict, lambda place: PATCHES[place], COUNT, batch_size=8)


def _crops(room: int) -> tuple[Limited, np.ndarray]:
    joints = torch.from_numpy(JOINTS)

    def read(parts: Iterable[np.ndarray]) -> Iterator[PoseFormerBatch]:
        for rows in parts:
            yield PoseFormerBatch(CROPS[rows], joints[rows], joints[rows], torch.zeros(len(rows), 17, 3))

    model = Limited(len(H36M_17), 2 * room)  # crops and their mirror images are one batch
    return model, poseformer_inference.predict(model, COUNT, read, FromCrops("hrnet_32"), batch_size=8)


def _lifted(room: int) -> tuple[Limited, np.ndarray]:
    model = Limited(len(H36M_17), room)
    return model, lifting.predict(model, JOINTS, batch_size=8)


KINDS = pytest.mark.parametrize("run", [_patches, _crops, _lifted])


@pytest.mark.usefixtures("one_thread")
@KINDS
def test_a_batch_that_does_not_fit_goes_on_in_pieces_with_the_same_poses(
    run: Callable[[int], tuple[Limited, np.ndarray]], caplog: pytest.LogCaptureFixture
) -> None:
    _, expected = run(COUNT)
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        model, found = run(3)
    assert len(found) == COUNT
    assert len(np.unique(expected.reshape(COUNT, -1), axis=0)) == COUNT  # their order is seen
    np.testing.assert_array_equal(found, expected)
    assert max(model.batches) <= model.room
    told = [record.getMessage() for record in caplog.records]
    assert told == [
        f"device cpu has not enough memory for {size} samples at once: going on with {size // 2}" for size in (8, 4)
    ]


@KINDS
def test_a_device_without_room_for_one_sample_is_told(run: Callable[[int], tuple[Limited, np.ndarray]]) -> None:
    with pytest.raises(H36MError, match=r"memory for one sample .CUDA out of memory.*a lot\); .*--device cpu"):
        run(0)


def test_batches_are_as_large_as_free_memory_says(monkeypatch: pytest.MonkeyPatch) -> None:
    free = 10 << 30
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 1 << 40))
    assert batch_size_for("cpu", 8, 1 << 30, 64) == 8
    assert [batch_size_for("cuda:0", 8, size, 64) for size in (1 << 30, 1 << 20, 1 << 35)] == [10, 64, 1]
    assert patches_of.default_batch_size("cuda") == 20
