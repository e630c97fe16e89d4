"""Inputs and targets are the official ones; predictions do not depend on how rows are batched."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from fill_weights import fill
from lifting_goldens import golden

from h36m_toolbox.cameras import h36m_camera
from h36m_toolbox.errors import H36MError
from h36m_toolbox.models import create_model
from h36m_toolbox.models.lifting import lifting_inputs, lifting_targets, predict
from h36m_toolbox.pose_tables import PoseField, pose_array, sequence_table, table_schema
from h36m_toolbox.sequences import CAMERA_IDS, Sequence
from h36m_toolbox.skeletons import H36M_16, H36M_17, H36M_32

SCHEMA = table_schema(
    (PoseField("joints_3d_world", H36M_17, 3, "mm", "world"), PoseField("joints_3d_camera", H36M_17, 3, "mm", "camera"))
)
STORED = golden("lifting_arrays_S9_Walking1")
CAMERAS = (0, 3)


def labels() -> pa.Table:
    """The stored sequence's label rows from two cameras, float32 mm."""
    world_mm = H36M_32.select(STORED.given("world_m").astype(np.float64) * 1000, H36M_17.joints)
    tables = []
    for camera in CAMERAS:
        sequence = Sequence("S9", "Walking", 2, CAMERA_IDS[camera])
        camera_mm = h36m_camera("S9", CAMERA_IDS[camera]).world_to_camera(world_mm)
        poses = {"joints_3d_world": world_mm, "joints_3d_camera": camera_mm}
        tables.append(sequence_table(sequence, np.arange(len(world_mm)), poses, SCHEMA))
    return pa.concat_tables(tables)


def pixels() -> np.ndarray:
    return np.concatenate([STORED.given(f"pixels_cam{camera}") for camera in CAMERAS])


def test_targets_are_the_official_ones_in_metres() -> None:
    for camera, found in zip(CAMERAS, np.split(lifting_targets(labels()), len(CAMERAS)), strict=True):
        assert found.dtype == np.float32
        STORED.assert_matches(f"target3d_cam{camera}", found)


def test_targets_agree_with_the_label_tables_camera_frame_poses() -> None:
    camera_mm = H36M_17.select(pose_array(labels(), "joints_3d_camera"), H36M_16.joints).astype(np.float64)
    np.testing.assert_allclose(lifting_targets(labels()), (camera_mm - camera_mm[:, :1]) / 1000, rtol=0, atol=2e-6)


def test_inputs_are_the_official_ones_for_the_image_size_of_each_row() -> None:
    for camera, found in zip(CAMERAS, np.split(lifting_inputs(labels(), pixels()), len(CAMERAS)), strict=True):
        assert found.dtype == np.float32
        STORED.assert_matches(f"input2d_cam{camera}", found)


def test_seventeen_detected_joints_lose_their_neck() -> None:
    neck = H36M_17.joints.index("Neck/Nose")
    seventeen = np.insert(pixels(), neck, -1, axis=1)
    np.testing.assert_array_equal(lifting_inputs(labels(), seventeen), lifting_inputs(labels(), pixels()))


@pytest.mark.parametrize("shape", [(9, 16, 2), (10, 15, 2), (10, 16, 3), (10, 32)])
def test_detections_that_do_not_fit_the_labels_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(H36MError, match="10 labels need"):
        lifting_inputs(labels(), np.zeros(shape, np.float32))


@pytest.mark.parametrize("name", ["semgcn", "semgcn-nonlocal", "martinez"])
def test_predictions_do_not_depend_on_the_batch_size(name: str) -> None:
    model = fill(create_model(name)).train()
    inputs = np.random.default_rng(0).uniform(-1, 1, (7, 16, 2)).astype(np.float32)
    whole, parts = predict(model, inputs, batch_size=7), predict(model, inputs, batch_size=3)
    assert whole.shape == (7, len(H36M_16), 3) and whole.dtype == np.float32
    np.testing.assert_allclose(whole, parts, rtol=0, atol=1e-4)
    assert model.training
    assert predict(model, inputs[:0]).shape == (0, 16, 3)


def test_predictions_are_those_of_the_network_in_eval_mode() -> None:
    model = fill(create_model("martinez"))
    inputs = np.random.default_rng(0).uniform(-1, 1, (4, 16, 2)).astype(np.float32)
    found = predict(model, inputs)
    with torch.no_grad():
        expected = model.eval()(torch.from_numpy(inputs)).numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6 * np.abs(expected).max())
