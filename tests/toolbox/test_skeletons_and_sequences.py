from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from h36m_toolbox.errors import H36MError
from h36m_toolbox.known_bad import UNREADABLE_VIDEOS
from h36m_toolbox.sequences import (
    SPLITS,
    TEST_SUBJECTS,
    TRAIN_SUBJECTS,
    Recording,
    Sequence,
    recording_of_stem,
    recordings,
    sequence_of_folder,
    sequences,
)
from h36m_toolbox.skeletons import H36M_16, H36M_17, H36M_32, MULTIVIEW_17, SH_16, SKELETONS, Skeleton, skeleton_of


@pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=list(SKELETONS))
def test_a_skeleton_is_a_tree_of_uniquely_named_joints(skeleton: Skeleton) -> None:
    assert len(set(skeleton.joints)) == len(skeleton.joints) == len(skeleton.parents)
    assert skeleton.root == ("Thorax" if skeleton.name == "lsp-14" else "Hip")
    assert len(skeleton.bones) == len(skeleton) - 1
    for joint in range(len(skeleton)):
        steps = 0
        while skeleton.parents[joint] >= 0:
            joint, steps = skeleton.parents[joint], steps + 1
            assert steps < len(skeleton)
    assert skeleton_of(skeleton.joints) is skeleton


def test_subsets_are_the_published_raw_numbers() -> None:
    assert H36M_32.indices(H36M_17.joints) == [0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27]
    assert H36M_32.indices(MULTIVIEW_17.joints) == [3, 2, 1, 6, 7, 8, 0, 12, 13, 15, 27, 26, 25, 17, 18, 19, 14]
    assert SH_16.indices(H36M_16.joints) == [6, 2, 1, 0, 3, 4, 5, 7, 8, 9, 13, 14, 15, 12, 11, 10]
    assert H36M_17.left == (4, 5, 6, 11, 12, 13)
    assert H36M_17.right == (1, 2, 3, 14, 15, 16)


@given(st.sampled_from([H36M_16, SH_16, MULTIVIEW_17, H36M_17]), st.integers(0, 5))
def test_selecting_joints_by_name_there_and_back_is_the_identity(skeleton: Skeleton, frames: int) -> None:
    poses = np.random.default_rng(frames).normal(size=(frames, len(skeleton), 3))
    shuffled = tuple(sorted(skeleton.joints))
    there = Skeleton("shuffled", shuffled, skeleton.parents, skeleton.mirror_pairs)
    np.testing.assert_array_equal(there.select(skeleton.select(poses, shuffled), skeleton.joints), poses)


def test_a_missing_joint_is_named() -> None:
    with pytest.raises(H36MError, match="h36m-16 has no joint Neck/Nose"):
        H36M_16.indices(("Hip", "Neck/Nose"))


def test_frame_counts_give_every_published_total() -> None:
    def views(*subjects: str) -> int:
        return 4 * sum(recording.pose_frames for recording in recordings(subjects))

    assert views(*TRAIN_SUBJECTS) == 1_559_752
    assert views(*TEST_SUBJECTS) == 550_644
    assert views(*TEST_SUBJECTS) - UNREADABLE_VIDEOS[0].recording.pose_frames == 548_819
    assert views(*TEST_SUBJECTS) - 4 * UNREADABLE_VIDEOS[0].recording.pose_frames == 543_344
    assert sum(len(range(0, r.pose_frames, 64)) for r in recordings(TEST_SUBJECTS)) == 2_181
    assert sum(sequence.video_frames for sequence in sequences(TRAIN_SUBJECTS)) == 1_561_382
    assert sum(sequence.video_frames for sequence in sequences(TEST_SUBJECTS)) == 575_682


def test_odd_file_names_lead_to_their_recording() -> None:
    assert Recording("S1", "TakingPhoto", 1).stem == "TakingPhoto 1"
    assert Recording("S1", "TakingPhoto", 1).canonical_name == "Photo 1"
    assert Recording("S5", "TakingPhoto", 1).stem == "Photo"
    assert Recording("S11", "Phoning", 1).stem == "Phoning 3"
    assert recording_of_stem("S1", "WalkDog 1") == recording_of_stem("S1", "WalkingDog 1")
    assert recording_of_stem("S8", "WalkTogether_2") == Recording("S8", "WalkingTogether", 2)
    assert recording_of_stem("S1", "_ALL 1") is None


def test_every_recording_has_its_own_stem_and_every_sequence_its_own_folder() -> None:
    assert len({(r.subject, r.stem) for r in recordings()}) == 7 * 30
    assert len({sequence.folder for sequence in sequences()}) == 840
    assert all(sequence_of_folder(sequence.folder) == sequence for sequence in sequences())
    assert sequence_of_folder("s_01_act_01_subact_01_ca_01") is None
    assert sequence_of_folder("thumbs") is None
    assert set(SPLITS["train"]) | set(SPLITS["val"]) == {r.subject for r in recordings()}


def test_an_unknown_recording_is_named() -> None:
    with pytest.raises(H36MError, match="no recording S1 Dancing 1"):
        _ = Sequence("S1", "Dancing", 1, "54138969").recording.stem
