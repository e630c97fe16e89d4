"""The published figures: each has a source, and agrees with what the models' cards say of themselves."""

import math

import pytest

from h36m_toolbox.benchmarks.mpi_inf_3dhp.protocols import TEST_PROTOCOLS
from h36m_toolbox.benchmarks.protocols import PROTOCOLS
from h36m_toolbox.benchmarks.standings.published import PublishedFigure, published_figures
from h36m_toolbox.models.cards import PublishedScore
from h36m_toolbox.models.registry import list_models, model_card

# What the table calls the models that we have; of released weights where these have a figure of their own.
METHODS = {
    "martinez": "Martinez SimpleBaseline (SemGCN repo)",
    "semgcn": "SemGCN",
    "semgcn-nonlocal": "SemGCN (non-local)",
    "contextpose": "ContextPose",
    "ransac": "RANSAC triangulation (LT implementation)",
    "algebraic": "Learnable triangulation - algebraic",
    "volumetric": "Learnable triangulation - volumetric",
}
RELEASED = " (released weights)"
SCORES = [
    pytest.param(METHODS[card.name], score, id=f"{card.name}-{score.detections}-{score.protocol}")
    for card in list_models()
    for score in card.published
    if card.name in METHODS
]


def test_every_figure_has_a_number_and_a_source() -> None:
    assert len(published_figures()) == 160
    for figure in published_figures():
        assert figure.source.startswith("https://"), figure
        assert not all(map(math.isnan, (figure.mpjpe_mm, figure.p_mpjpe_mm, figure.pck150))), figure


def test_figures_are_scored_as_protocols_that_there_are() -> None:
    named = {figure.scored_as for figure in published_figures()} - {""}
    assert named <= {*PROTOCOLS, *TEST_PROTOCOLS}
    assert {figure.dataset for figure in published_figures() if figure.scored_as} == {
        "Human3.6M",
        "Human3.6M CHALL_H80K val",
        "MPI-INF-3DHP",
    }
    for figure in published_figures():
        if figure.scored_as:
            assert (figure.scored_as in TEST_PROTOCOLS) == (figure.dataset == "MPI-INF-3DHP"), figure


def test_figures_whose_rules_are_not_known_stand_beside_nothing_of_ours() -> None:
    for figure in published_figures():
        if any(words in figure.protocol for words in ("as reported", "mixed", "before their correction")):
            assert figure.scored_as == "", figure


@pytest.mark.parametrize(("method", "score"), SCORES)
def test_a_card_says_what_the_table_says(method: str, score: PublishedScore) -> None:
    told = {
        (figure.mpjpe_mm, None if math.isnan(figure.p_mpjpe_mm) else figure.p_mpjpe_mm)
        for figure in published_figures()
        if figure.method in (method, f"{method}{RELEASED}")
        and figure.scored_as == score.protocol
        and (figure.our_detections or "images") == score.detections
    }
    assert (score.mpjpe_mm, score.p_mpjpe_mm) in told


def test_cards_say_what_the_table_says_of_mpi_inf_3dhp() -> None:
    on_cards = {
        (score.protocol, score.mpjpe_mm, score.pck150, score.auc)
        for card in list_models()
        for score in card.published_3dhp
    }
    in_table = {
        (figure.scored_as, *(None if math.isnan(x) else x for x in (figure.mpjpe_mm, figure.pck150, figure.auc)))
        for figure in published_figures()
        if figure.dataset == "MPI-INF-3DHP"
    }
    assert len(on_cards) == 3
    assert on_cards <= in_table


def test_the_challenge_s_figure_is_the_ensemble_s_of_the_card() -> None:
    (figure,) = (figure for figure in published_figures() if figure.scored_as == "challenge-2018")
    assert figure.mpjpe_mm == min(score.mpjpe_mm for score in model_card("integral").published)


def test_detections_have_our_names_where_they_are_ours() -> None:
    def named(words: str) -> str:
        return PublishedFigure(*("",) * 9, words, *(math.nan,) * 5, "").our_detections

    assert [named(words) for words in ("GT 2D", "CPN ft-H36M (GT boxes)", "HRNet ft-H36M", "")] == [
        *("gt", "cpn", "HRNet ft-H36M", "")
    ]
