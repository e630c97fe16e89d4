import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from h36m_toolbox.benchmarks.foreign.world_views import turned_to_world, world_to_views
from h36m_toolbox.benchmarks.predictions import prediction_schema
from h36m_toolbox.cameras import h36m_camera
from h36m_toolbox.pose_tables import keyed_table, pose_array, row_keys, sequence_code, sequence_of_code
from h36m_toolbox.sequences import SUBJECTS, sequences
from h36m_toolbox.skeletons import H36M_17

SEQUENCES = sequences(SUBJECTS)
KEYS = st.lists(st.tuples(st.sampled_from(SEQUENCES), st.integers(0, 6000)), min_size=1, max_size=12).map(
    lambda rows: np.array([sequence_code(sequence) << 32 | frame for sequence, frame in rows])
)


def poses_of(keys: np.ndarray) -> np.ndarray:
    return np.random.default_rng(int(keys[0]) % 1000).normal(scale=500, size=(len(keys), 17, 3))


@given(KEYS)
def test_turning_to_the_views_and_back_changes_nothing_and_no_distance(keys: np.ndarray) -> None:
    poses = poses_of(keys)
    turned = world_to_views(keys, poses, relative=True)
    np.testing.assert_allclose(turned_to_world(keys, turned), poses, atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(turned, axis=2), np.linalg.norm(poses, axis=2), rtol=1e-12)


@given(KEYS)
def test_every_row_is_seen_by_the_camera_of_its_key(keys: np.ndarray) -> None:
    poses = poses_of(keys)
    seen = world_to_views(keys, poses, relative=False)
    for key, pose, expected in zip(keys.tolist(), poses, seen, strict=True):
        view = sequence_of_code(key >> 32)
        np.testing.assert_allclose(h36m_camera(view.subject, view.camera).world_to_camera(pose), expected, atol=1e-9)


@settings(max_examples=30)
@given(KEYS)
def test_a_table_of_keys_has_these_row_keys_and_poses(keys: np.ndarray) -> None:
    poses = poses_of(keys).astype(np.float32)
    table = keyed_table(keys, {"joints_3d": poses}, prediction_schema(H36M_17))
    np.testing.assert_array_equal(row_keys(table), keys)
    np.testing.assert_array_equal(pose_array(table, "joints_3d"), poses)
