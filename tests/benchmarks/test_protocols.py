from dataclasses import fields, replace

import pytest

from h36m_toolbox.benchmarks.protocols import DAMAGED_S9, PROTOCOLS, Damaged, Protocol, protocol_named
from h36m_toolbox.errors import H36MError
from h36m_toolbox.sequences import Recording


def test_protocols_cover_the_published_number_of_frames() -> None:
    for name in ("videopose3d", "semgcn", "semgcn-centred", "strict"):
        assert PROTOCOLS[name].official_frames == 543_344  # lifting.md, section 4; 8,490 batches of 64
    assert PROTOCOLS["martinez-all-frames"].official_frames == 543_344 + 4 * 1825  # S11 Directions 2 has 1825 poses


def test_whole_batches_lose_at_most_63_frames_an_action() -> None:
    kept, everything = PROTOCOLS["martinez"].official_frames, PROTOCOLS["martinez-all-frames"].official_frames
    assert kept % 64 == 0
    assert 0 < everything - kept <= 15 * 63


def test_a_frame_step_counts_from_frame_0_of_each_sequence() -> None:
    # 2,181 instants of every 64th frame in h36m-fetch's test set (dataprep.md, section 6), all four views of each.
    assert replace(PROTOCOLS["strict"], frame_step=64, dropped=()).official_frames == 4 * 2181


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=str)
def test_every_switch_is_described_in_words(protocol: Protocol) -> None:
    description = protocol.describe()
    assert list(description) == [field.name for field in fields(Protocol)]
    assert all(description.values())
    assert protocol.source
    assert protocol.root_joint in protocol.joints


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
    assert dropped.official_frames == kept.official_frames - 4 * (1447 + 1554 + 1612)


def test_other_subjects_make_another_protocol() -> None:
    held_out = PROTOCOLS["semgcn"].for_subjects("S7", "S8")
    assert (held_out.name, held_out.subjects) == ("semgcn@S7+S8", ("S7", "S8"))
    assert held_out.joints == PROTOCOLS["semgcn"].joints


def test_an_unknown_protocol_is_answered_with_the_known_ones() -> None:
    with pytest.raises(H36MError, match=r"'P1'; known: videopose3d, semgcn"):
        protocol_named("P1")
    assert protocol_named("strict") is PROTOCOLS["strict"]
