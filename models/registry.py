"""The models by name: the bundled ones, and those that installed packages add to the entry-point group `h36m.models`.

An entry point has the model's name and leads to a `cards.ModelCard`; a module is imported when its model is asked for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

from h36m_toolbox.errors import H36MError
from h36m_toolbox.models.cards import ANY_DETECTIONS, ModelCard, PublishedTestScore
from h36m_toolbox.models.recipes import Recipe

if TYPE_CHECKING:
    from torch import nn

GROUP = "h36m.models"

# Fields of a configuration that are no plain values; options of other names stand for them.
_NO_OPTIONS = ("skeleton", "backbone", "prior")

_BUNDLED = {
    name: EntryPoint(name, f"h36m_toolbox.models.{place}", GROUP)
    for name, place in {
        "integral": "integral:INTEGRAL_CARD",
        "integral-direct": "integral:DIRECT_CARD",
        "martinez": "martinez:MARTINEZ_CARD",
        "martinez-weigq": "martinez:MARTINEZ_WEIGQ_CARD",
        "martinez-tf": "martinez:MARTINEZ_TF_CARD",
        "algebraic": "learnable_triangulation:ALGEBRAIC_CARD",
        "ca-poseformer": "ca_poseformer:CA_POSEFORMER_CARD",
        "contextpose": "contextpose:CONTEXTPOSE_CARD",
        "ransac": "learnable_triangulation:RANSAC_CARD",
        "semgcn": "semgcn:SEMGCN_CARD",
        "semgcn-nonlocal": "semgcn:SEMGCN_NONLOCAL_CARD",
        "volumetric": "learnable_triangulation:VOLUMETRIC_CARD",
    }.items()
}


def model_names() -> tuple[str, ...]:
    """The names of all models, sorted. Nothing is imported."""
    return tuple(sorted(_places()))


def model_card(name: str) -> ModelCard:
    """The card of a model; an H36MError lists the known names, or tells why a package's model cannot be used."""
    places = _places()
    if name not in places:
        raise H36MError(f"no model is called {name}; there are {', '.join(sorted(places))}")
    place = places[name]
    try:
        card = place.load()
    except Exception as error:  # another package's module may raise anything while it is imported
        raise H36MError(f"model {name}: {place.value} cannot be imported ({type(error).__name__}: {error})") from error
    if not isinstance(card, ModelCard) or card.name != name:
        found = f"the card of {card.name}" if isinstance(card, ModelCard) else type(card).__name__
        raise H36MError(f"model {name}: {place.value} is {found}, expected a ModelCard of that name")
    return card


def _places() -> Mapping[str, EntryPoint]:
    """The bundled models first: a package cannot put another network under a bundled name."""
    return {place.name: place for place in entry_points(group=GROUP)} | _BUNDLED


def list_models() -> tuple[ModelCard, ...]:
    """The cards of all models that can be used, in the order of their names."""
    return tuple(card for card in _cards().values() if isinstance(card, ModelCard))


def _cards() -> dict[str, ModelCard | H36MError]:
    """Every model's card, or why it cannot be used."""
    found: dict[str, ModelCard | H36MError] = {}
    for name in model_names():
        try:
            found[name] = model_card(name)
        except H36MError as error:
            found[name] = error
    return found


def create_model(name: str, **options: Any) -> nn.Module:
    """A freshly initialised network; an H36MError lists the known names, or the options that the model has."""
    return model_card(name).build(**options)


def recipe_of(model: str, detections: str) -> Recipe:
    """How a model was trained on these 2D detections, as published."""
    recipes = model_card(model).recipes
    if not recipes:
        raise H36MError(f"model {model} has no recipe, so it cannot be trained here")
    if detections not in recipes and ANY_DETECTIONS not in recipes:
        raise H36MError(
            f"model {model} has no recipe for detections {detections}; it has some for {', '.join(recipes)}"
        )
    return recipes.get(detections) or recipes[ANY_DETECTIONS]


def checked_options(model: str, options: Mapping[str, Any], config: type, *more: str) -> dict[str, Any]:
    """The options, if each is a field of the model's configuration or one of `more`; otherwise an H36MError."""
    known = [*more, *(field.name for field in fields(config) if field.name not in _NO_OPTIONS)]
    unknown = [option for option in options if option not in known]
    if unknown:
        raise H36MError(f"model {model} has no option {', '.join(unknown)}; it has {', '.join(known)}")
    return dict(options)


def cards_as_json() -> str:
    """All cards as JSON, without what builds the network."""
    cards = [
        {key: value for key, value in asdict(card).items() if key not in ("build", "contract")}
        for card in list_models()
    ]
    return json.dumps(cards, indent=1)


def cards_as_text() -> str:
    """All cards for a reader: inputs, parameters, published figures and where the weights are."""
    return "\n\n".join(
        _card_as_text(card) if isinstance(card, ModelCard) else f"{name}\n  cannot be used: {card}"
        for name, card in _cards().items()
    )


def _card_as_text(card: ModelCard) -> str:
    published = [
        f"{score.mpjpe_mm:.2f} / {'-' if score.p_mpjpe_mm is None else f'{score.p_mpjpe_mm:.2f}'} mm on "
        f"{score.detections} ({score.protocol}; {score.source})"
        for score in card.published
    ]
    return "\n".join(
        (
            card.name,
            f"  paper       {card.paper}",
            f"  input       {card.inputs}",
            f"  parameters  {card.parameters:,}",
            *(f"  published   MPJPE / P-MPJPE {line}" for line in published),
            *(f"  published   {_test_score_as_text(score)}" for score in card.published_3dhp),
            f"  weights     {card.weights}",
            f"  licence     {card.licence}",
        )
    )


def _test_score_as_text(score: PublishedTestScore) -> str:
    figures = {"MPJPE mm": score.mpjpe_mm, "PCK@150 %": score.pck150, "AUC %": score.auc}
    told = ", ".join(f"{name} {value:g}" for name, value in figures.items() if value is not None)
    options = f", {score.options}" if score.options else ""
    return f"{told} ({score.protocol}{options}; {score.source})"
