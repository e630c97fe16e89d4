from dataclasses import fields, replace

import pytest

from h36m_toolbox.benchmarks.manifests import official_manifest
from h36m_toolbox.benchmarks.protocols import DAMAGED_S9, PROTOCOLS, Protocol, protocol_named
from h36m_toolbox.benchmarks.switches import Damaged, every_nth
from h36m_toolbox.errors import H36MError
from h36m_toolbox.sequences import Recording
from h36m_toolbox.skeletons import H36M_17


def official_frames(protocol: Protocol) -> int:
    manifest = official_manifest(protocol)
    assert manifest is not None
    return manifest.frames


def test_protocols_cover_the_published_number_of_frames() -> None:
    for name in ("videopose3d", "semgcn", "semgcn-centred", "ca-poseformer", "strict"):
        assert official_frames(PROTOCOLS[name]) == 543_344  # 8,490 batches of 64
    everything = 543_344 + 4 * 1825  # S11 Directions 2 has 1825 poses
    assert official_frames(PROTOCOLS["martinez-all-frames"]) == everything
    assert official_frames(PROTOCOLS["motionbert"]) == everything - 4 * (1447 + 1554 + 1612)


def test_sampled_protocols_cover_the_published_number_of_frames() -> None:
    # 2,181 instants of every 64th frame in h36m-fetch's test set, 29 of them in the recording with an unreadable view.
    assert official_frames(PROTOCOLS["learnable-triangulation-relative"]) == 2181
    assert official_frames(PROTOCOLS["contextpose"]) == official_frames(PROTOCOLS["every-64th"]) == 4 * 2181 - 29
    damaged = sum(len(range(0, frames, 64)) for frames in (1447, 1554, 1612))
    assert official_frames(PROTOCOLS["learnable-triangulation-absolute"]) == 2181 - damaged
    # One camera of 550,644 / 4 poses, every fifth of each recording.
    assert official_frames(PROTOCOLS["frontal-camera"]) == pytest.approx(550_644 / 4 / 5, abs=60)


def test_protocols_whose_frames_nobody_published_have_no_official_list() -> None:
    assert official_manifest(PROTOCOLS["integral"]) is None
    assert official_manifest(PROTOCOLS["challenge-2018"]) is None


def test_whole_batches_lose_at_most_63_frames_an_action() -> None:
    kept, everything = (official_frames(PROTOCOLS[name]) for name in ("martinez", "martinez-all-frames"))
    assert kept % 64 == 0
    assert 0 < everything - kept <= 15 * 63


def test_a_frame_step_counts_from_frame_0_of_each_sequence() -> None:
    assert official_frames(replace(PROTOCOLS["strict"], frames=every_nth(64), dropped=())) == 4 * 2181


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=str)
def test_every_switch_is_described_in_words(protocol: Protocol) -> None:
    description = protocol.describe()
    assert list(description) == [field.name for field in fields(Protocol)]
    assert all(description.values())
    assert protocol.source
    assert set(protocol.joints) <= set(H36M_17.joints)
    assert protocol.root_joint in H36M_17.joints


def test_names_say_what_a_protocol_does() -> None:
    assert not [name for name in PROTOCOLS if "protocol" in name.lower() or (name[-1].isdigit() and name[:-1] in "pP")]
    assert all(PROTOCOLS[name].name == name for name in PROTOCOLS)


def test_damaged_recordings_are_kept_unless_the_protocol_drops_them() -> None:
    assert {str(view.recording.stem) for recording in DAMAGED_S9 for view in recording.views} == {
        "Greeting",
        "SittingDown 1",
        "Waiting 1",
    }
    kept = PROTOCOLS["strict"]
    assert kept.dropped_recordings == {Recording("S11", "Directions", 2)}
    dropped = replace(kept, damaged_s9=Damaged.DROP)
    assert dropped.dropped_recordings == {Recording("S11", "Directions", 2), *DAMAGED_S9}
    assert official_frames(dropped) == official_frames(kept) - 4 * (1447 + 1554 + 1612)


def test_other_subjects_make_another_protocol() -> None:
    held_out = PROTOCOLS["semgcn"].for_subjects("S7", "S8")
    assert (held_out.name, held_out.subjects) == ("semgcn@S7+S8", ("S7", "S8"))
    assert held_out.joints == PROTOCOLS["semgcn"].joints
    with pytest.raises(H36MError, match=r"contextpose on S8: .* needs the 32 joints"):
        PROTOCOLS["contextpose"].for_subjects("S8")


def test_an_unknown_protocol_is_answered_with_the_known_ones() -> None:
    with pytest.raises(H36MError, match=r"'P1'; known: videopose3d, semgcn"):
        protocol_named("P1")
    assert protocol_named("strict") is PROTOCOLS["strict"]
