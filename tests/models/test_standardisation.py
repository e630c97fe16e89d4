"""Means, deviations and standardised poses are those of Martinez et al.'s own data preparation."""

import numpy as np
import pytest
from lifting_goldens import golden

from h36m_toolbox.cameras import h36m_camera
from h36m_toolbox.errors import H36MError
from h36m_toolbox.models.standardisation import StandardNormaliser, measured, standard_lifting
from h36m_toolbox.sequences import CAMERA_IDS
from h36m_toolbox.skeletons import H36M_16, H36M_17, H36M_32

STORED = golden("martinez_normalization")


def views(key: str) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """For every camera: the name of the stored sequence, its 3D poses (n, 17, 3) and its 2D poses (n, 16, 2)."""
    subject, action, file = key.split("|")
    world = STORED.given(key).reshape(-1, 32, 3)
    found = []
    for camera_id in CAMERA_IDS:
        camera = h36m_camera(f"S{subject}", camera_id)
        poses = H36M_32.select(camera.world_to_camera(world), H36M_17.joints)
        pixels = H36M_32.select(camera.project(camera.world_to_camera(world)), H36M_16.joints)
        found.append((f"{subject}|{action}|{file[:-4]}.{camera_id}.h5", poses - poses[:, :1], pixels))
    return found


def normaliser() -> StandardNormaliser:
    keys = [name.removeprefix("input.") for name in STORED.arrays if name.startswith("input.")]
    training = [view for key in keys if key.split("|")[0] in ("1", "8") for view in views(key)]
    return measured(np.concatenate([poses for _, poses, _ in training]), np.concatenate([px for *_, px in training]))


def test_means_and_deviations_of_the_training_set_are_the_official_ones() -> None:
    found = normaliser()
    for name, values, dims in (
        ("mean_3d", found.mean_3d[1:], "use_3d"),
        ("std_3d", found.std_3d[1:], "use_3d"),
        ("mean_2d", found.mean_2d, "use_2d"),
        ("std_2d", found.std_2d, "use_2d"),
    ):
        expected = STORED.arrays[f"output.{name}"][STORED.arrays[f"output.{dims}"]]
        np.testing.assert_allclose(values.ravel(), expected, rtol=0, atol=1e-6, err_msg=name)


def test_standardised_sequences_are_the_official_ones() -> None:
    found = normaliser()
    for key in ("9|Walking|Walking.cdf", "11|Photo|Photo 1.cdf"):
        for name, poses, pixels in views(key):
            STORED.assert_matches(f"test3d|{name}", found.standardised(poses)[:, 1:].reshape(len(poses), -1))
            given = ((pixels - found.mean_2d) / found.std_2d).reshape(len(pixels), -1)
            STORED.assert_matches(f"test2d|{name}", given)


def test_poses_come_back_in_millimetres_with_the_hip_at_zero() -> None:
    found = normaliser()
    _, poses, _ = views("9|Walking|Walking.cdf")[0]
    np.testing.assert_allclose(found.poses_mm(found.standardised(poses)), poses, rtol=0, atol=1e-3)


def test_what_a_checkpoint_keeps_makes_the_same_normaliser() -> None:
    def training() -> None:
        raise AssertionError("the training set must not be read")

    found = normaliser()
    again = standard_lifting().normaliser(training, found.state())
    assert all(np.array_equal(values, again.state()[name]) for name, values in found.state().items())


def test_a_training_set_that_does_not_move_is_refused() -> None:
    with pytest.raises(H36MError, match="3 training poses have a coordinate that never changes"):
        measured(np.ones((3, 17, 3)), np.ones((3, 16, 2)))
