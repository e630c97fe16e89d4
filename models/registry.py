"""The bundled models: who made them, what they take, what was published, and how to build them.

Listing imports no torch; building does.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from h36m_toolbox.errors import H36MError

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class PublishedScore:
    """One published figure: errors in mm under a protocol, for 2D `detections` ("gt", "sh")."""

    detections: str
    protocol: str
    mpjpe_mm: float
    p_mpjpe_mm: float
    source: str


@dataclass(frozen=True)
class ModelCard:
    """A bundled model. `build(**options)` makes the network; the options are the fields of its configuration."""

    name: str
    build: Callable[..., nn.Module]
    paper: str
    repository: str
    weights: str
    licence: str
    inputs: str
    published: tuple[PublishedScore, ...]
    parameters: int


def list_models() -> tuple[ModelCard, ...]:
    """All bundled models, in the order of their names."""
    return tuple(MODELS[name] for name in sorted(MODELS))


def cards_as_json() -> str:
    """All cards as JSON, without what builds the network."""
    cards = [{key: value for key, value in asdict(card).items() if key != "build"} for card in list_models()]
    return json.dumps(cards, indent=1)


def cards_as_text() -> str:
    """All cards for a reader: inputs, parameters, published figures and where the weights are."""
    return "\n\n".join(_card_as_text(card) for card in list_models())


def _card_as_text(card: ModelCard) -> str:
    published = [
        f"{score.mpjpe_mm:.2f} / {score.p_mpjpe_mm:.2f} mm on {score.detections} ({score.protocol}; {score.source})"
        for score in card.published
    ]
    return "\n".join(
        (
            card.name,
            f"  paper       {card.paper}",
            f"  input       {card.inputs}",
            f"  parameters  {card.parameters:,}",
            *(f"  published   MPJPE / P-MPJPE {line}" for line in published),
            f"  weights     {card.weights}",
            f"  licence     {card.licence}",
        )
    )


def create_model(name: str, **options: Any) -> nn.Module:
    """A freshly initialised network; an H36MError lists the known names, or the options that the model has."""
    if name not in MODELS:
        raise H36MError(f"no model is called {name}; there are {', '.join(sorted(MODELS))}")
    return MODELS[name].build(**options)


def _checked(name: str, options: dict[str, Any], config: Any) -> dict[str, Any]:
    known = [field.name for field in fields(config)]
    unknown = [option for option in options if option not in known]
    if unknown:
        raise H36MError(f"model {name} has no option {', '.join(unknown)}; it has {', '.join(known)}")
    return options


def _semgcn(**options: Any) -> nn.Module:
    from h36m_toolbox.models.semgcn import SemGCN, SemGCNConfig

    return SemGCN(SemGCNConfig(**_checked("semgcn", options, SemGCNConfig)))


def _semgcn_non_local(**options: Any) -> nn.Module:
    return _semgcn(**{"non_local": True, **options})


def _martinez(**options: Any) -> nn.Module:
    from h36m_toolbox.models.martinez import Martinez, MartinezConfig

    return Martinez(MartinezConfig(**_checked("martinez", options, MartinezConfig)))


_SEMGCN_REPOSITORY = "https://github.com/garyzhao/SemGCN"
_SEMGCN_README = f"{_SEMGCN_REPOSITORY}#results-on-human36m"
_SEMGCN_WEIGHTS = "https://drive.google.com/drive/folders/1c7Iz6Tt7qbaw0c1snKgcGOD-JGSzuZ4X"
_SEMGCN_PAPER = "Zhao et al., Semantic Graph Convolutional Networks, CVPR 2019, arXiv:1904.03345"
_SEMGCN_LICENCE = (
    "network written anew, MIT; the authors' weights are not shipped, their terms are on the authors' page"
)
_ONE_FRAME = "2D, h36m-16, one frame"

MODELS = {
    card.name: card
    for card in (
        ModelCard(
            name="semgcn",
            build=_semgcn,
            paper=_SEMGCN_PAPER,
            repository=_SEMGCN_REPOSITORY,
            weights=_SEMGCN_WEIGHTS,
            licence=_SEMGCN_LICENCE,
            inputs=_ONE_FRAME,
            published=(PublishedScore("gt", "semgcn", 42.14, 33.53, _SEMGCN_README),),
            parameters=267_343,
        ),
        ModelCard(
            name="semgcn-nonlocal",
            build=_semgcn_non_local,
            paper=_SEMGCN_PAPER,
            repository=_SEMGCN_REPOSITORY,
            weights=_SEMGCN_WEIGHTS,
            licence=_SEMGCN_LICENCE,
            inputs=_ONE_FRAME,
            published=(
                PublishedScore("gt", "semgcn", 40.78, 31.46, _SEMGCN_README),
                PublishedScore("sh", "semgcn", 61.24, 47.71, _SEMGCN_README),
            ),
            parameters=434_703,
        ),
        ModelCard(
            name="martinez",
            build=_martinez,
            paper="Martinez et al., A simple yet effective baseline for 3d pose, ICCV 2017, arXiv:1705.03098",
            repository="https://github.com/una-dinosauria/3d-pose-baseline",
            weights=_SEMGCN_WEIGHTS,
            licence=_SEMGCN_LICENCE,
            inputs=_ONE_FRAME,
            published=(
                PublishedScore("gt", "semgcn", 44.40, 35.25, _SEMGCN_README),
                PublishedScore("sh", "semgcn", 63.48, 48.15, _SEMGCN_README),
            ),
            parameters=4_288_557,
        ),
    )
}
