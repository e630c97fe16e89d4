"""Protocols on fewer subjects, actions and frames: what they score, and that their names say it."""

import pytest

from h36m_toolbox.benchmarks.manifests import official_manifest
from h36m_toolbox.benchmarks.narrowing import narrowed, protocol_of_name, protocol_of_split, split_of
from h36m_toolbox.benchmarks.protocols import PROTOCOLS
from h36m_toolbox.errors import H36MError
from h36m_toolbox.sequences import ACTIONS, TEST_SUBJECTS, TRAIN_SUBJECTS

SEMGCN = PROTOCOLS["semgcn"]


def test_a_narrowed_protocol_scores_what_its_name_says() -> None:
    fewer = narrowed(SEMGCN, ("S9",), ("Walking", "Eating"), 5)
    assert fewer.name == "semgcn@S9/Eating+Walking/every-5"
    assert (fewer.subjects, fewer.actions, fewer.frames.step) == (("S9",), ("Eating", "Walking"), 5)
    assert fewer.joints == SEMGCN.joints
    assert fewer.describe()["frames"] == "all, of these one in 5"
    manifest = official_manifest(fewer)
    whole = dict(official_manifest(SEMGCN).sequences)
    assert manifest is not None
    assert set(dict(manifest.sequences)) == {
        name for name in whole if name.startswith(("S9/Walking.", "S9/Walking 1.", "S9/Eating"))
    }
    assert all(frames == -(-whole[name] // 5) for name, frames in manifest.sequences)


def test_nothing_narrower_keeps_the_protocol() -> None:
    assert narrowed(SEMGCN, TEST_SUBJECTS[::-1], ACTIONS, 1) is SEMGCN


@pytest.mark.parametrize(
    "name", ["semgcn", "semgcn@S9", "semgcn@Walking", "semgcn@every-64", "contextpose@S11/Directions+Walking/every-2"]
)
def test_a_name_leads_back_to_its_protocol(name: str) -> None:
    assert protocol_of_name(name).name == name


def test_every_nth_is_of_the_protocol_s_own_frames() -> None:
    assert narrowed(PROTOCOLS["every-64th"], every=2).frames.step == 128


def test_a_split_has_its_subjects() -> None:
    assert protocol_of_split("semgcn", "val") is SEMGCN
    trained = protocol_of_split("semgcn", "train")
    assert (trained.name, trained.subjects) == ("semgcn@S1+S5+S6+S7+S8", TRAIN_SUBJECTS)
    assert protocol_of_split("semgcn@S5", "train").name == "semgcn@S5"
    assert (split_of(trained), split_of(SEMGCN)) == ("train", "val")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("semgcn@S2", "no action is called S2"),
        ("semgcn@S9+S2", "no subject is called S2"),
        ("semgcn@Walking+Flying", "no action is called Flying"),
        ("semgcn2@S9", "no protocol is called 'semgcn2'"),
        ("contextpose@S1", "needs the 32 joints"),
    ],
)
def test_names_of_nothing_are_refused(name: str, message: str) -> None:
    with pytest.raises(H36MError, match=message):
        protocol_of_name(name)
    with pytest.raises(H36MError, match="expected 1 or more"):
        narrowed(SEMGCN, every=0)
