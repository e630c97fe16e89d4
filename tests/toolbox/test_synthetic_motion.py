"""The invented motion: a body with fixed bones that bends as bodies do, on a floor, before all four cameras."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from h36m_toolbox.cameras import h36m_camera
from h36m_toolbox.sequences import ACTIONS, CAMERA_IDS, SUBJECTS, Recording
from h36m_toolbox.skeletons import H36M_32
from h36m_toolbox.synthetic.motion import Motion, poses_in_camera, synthetic_motion

FRAMES = 250
RECORDINGS = [Recording(SUBJECTS[i % len(SUBJECTS)], action, 1 + i % 2) for i, action in enumerate(ACTIONS)]


@cache
def motion_of(recording: Recording) -> Motion:
    return synthetic_motion(recording, FRAMES)


def bone_lengths(poses: np.ndarray) -> np.ndarray:
    """(frames, 31), mm."""
    parents, children = np.array(H36M_32.bones).T
    return np.linalg.norm(poses[:, children] - poses[:, parents], axis=-1)


def joint(poses: np.ndarray, name: str) -> np.ndarray:
    return poses[:, H36M_32.joints.index(name)]


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda recording: recording.action)
def test_bones_keep_their_lengths(recording: Recording) -> None:
    lengths = bone_lengths(motion_of(recording).world)
    np.testing.assert_allclose(lengths, np.broadcast_to(lengths[0], lengths.shape), atol=1e-9)


def test_all_subjects_share_the_universal_bones_but_not_their_own() -> None:
    motions = [motion_of(recording) for recording in RECORDINGS]
    universal = np.array([bone_lengths(motion.universal)[0] for motion in motions])
    np.testing.assert_allclose(universal, np.broadcast_to(universal[0], universal.shape), atol=1e-9)
    own = {
        recording.subject: bone_lengths(motion.world)[0].sum()
        for recording, motion in zip(RECORDINGS, motions, strict=True)
    }
    assert len({round(total, 3) for total in own.values()}) == len(SUBJECTS)


def test_left_and_right_bones_are_equally_long() -> None:
    lengths = dict(
        zip((child for _, child in H36M_32.bones), bone_lengths(motion_of(RECORDINGS[0]).world)[0], strict=True)
    )
    for left, right in zip(H36M_32.left, H36M_32.right, strict=True):
        assert lengths[left] == pytest.approx(lengths[right])


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda recording: recording.action)
def test_the_joints_that_coincide_in_the_data_set_coincide(recording: Recording) -> None:
    world = motion_of(recording).world
    for copy, original in {11: 0, 16: 13, 20: 19, 23: 22, 24: 13, 28: 27, 31: 30}.items():
        np.testing.assert_allclose(world[:, copy], world[:, original], atol=1e-9)


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda recording: recording.action)
def test_no_joint_moves_more_than_80_mm_in_20_ms(recording: Recording) -> None:
    steps = np.linalg.norm(np.diff(motion_of(recording).world, axis=0), axis=-1)
    assert 0.2 < steps.max() < 80


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda recording: recording.action)
def test_something_of_the_body_always_rests_on_the_floor_and_nothing_sinks_below(recording: Recording) -> None:
    lowest = motion_of(recording).world[..., 2].min(axis=1)
    assert lowest.min() > 10 and lowest.max() < 90


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda recording: recording.action)
def test_all_four_cameras_see_the_whole_body(recording: Recording) -> None:
    for camera_id in CAMERA_IDS:
        camera = h36m_camera(recording.subject, camera_id)
        poses = poses_in_camera(motion_of(recording), camera)
        assert poses.camera[..., 2].min() > 1000
        assert ((poses.image >= 0) & (poses.image < camera.size)).all(axis=(1, 2)).mean() > 0.98


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda recording: recording.action)
def test_knees_bend_backwards_and_elbows_forwards(recording: Recording) -> None:
    world = motion_of(recording).world
    for side in "RL":
        hip, knee, foot, toe = (joint(world, side + name) for name in ("Hip", "Knee", "Foot", "ToeBase"))
        hinge = np.cross(unit(knee - hip), unit(foot - knee))
        # The toes point to the front of the shank, so a knee that bends backwards turns away from them.
        assert ((hinge * np.cross(unit(foot - knee), unit(toe - foot))).sum(axis=-1) < 0.02).all()
        shoulder, elbow, wrist = (joint(world, side + name) for name in ("Shoulder", "Elbow", "Wrist"))
        assert (unit(elbow - shoulder) * unit(wrist - elbow)).sum(axis=-1).min() > np.cos(np.radians(150))


def test_a_seated_subject_sits_on_its_stool_and_a_walking_one_travels() -> None:
    sitting, walking = (synthetic_motion(Recording("S1", action, 1), FRAMES) for action in ("Sitting", "Walking"))
    assert sitting.seat is not None and walking.seat is None
    assert np.linalg.norm(sitting.seat[:2] - sitting.world[:, 0, :2], axis=1).max() < 60
    assert 400 < sitting.world[:, 0, 2].mean() < 650 < 850 < walking.world[:, 0, 2].mean() < 1050
    assert np.ptp(walking.world[:, 0, :2], axis=0).max() > 1000 > np.ptp(sitting.world[:, 0, :2], axis=0).max()


def test_the_motion_is_the_same_every_time_and_a_prefix_of_a_longer_one() -> None:
    recording = Recording("S5", "Walking", 2)
    short, long = synthetic_motion(recording, 20), synthetic_motion(recording, 200)
    np.testing.assert_array_equal(short.world, synthetic_motion(recording, 20).world)
    np.testing.assert_allclose(short.world, long.world[:20], atol=1e-9)


def test_recordings_and_seeds_differ() -> None:
    first = synthetic_motion(Recording("S5", "Waiting", 1), 5).world
    assert np.abs(first - synthetic_motion(Recording("S5", "Waiting", 2), 5).world).max() > 10
    assert np.abs(first - synthetic_motion(Recording("S5", "Waiting", 1), 5, seed=1).world).max() > 10
