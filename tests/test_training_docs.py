"""docs/training.md against the code."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from h36m_toolbox.models.recipe_files import read_recipe_file
from h36m_toolbox.models.recipes import Recipe, changed
from h36m_toolbox.models.registry import model_card, recipe_of

PAGE = (Path(__file__).parents[1] / "docs" / "training.md").read_text()
ROWS = re.findall(r"\| ([\d.]+) / ([\d.]+) \| `h36m train --model (\S+) --data DATA --detections (\w+)` \|", PAGE)


def test_the_file_shown_is_the_recipe_of_semgcn_with_every_value_named(tmp_path: Path) -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", PAGE, re.S)
    (tmp_path / "shown.toml").write_text(text)
    shown = read_recipe_file(tmp_path / "shown.toml")
    assert set(shown.recipe) == {field.name for field in fields(Recipe)}
    published = recipe_of(shown.model, shown.detections)
    assert changed(published, shown.recipe) == published


def test_there_are_five_rows() -> None:
    assert len(ROWS) == 5


@pytest.mark.parametrize(("mpjpe", "p_mpjpe", "model", "detections"), ROWS)
def test_the_figures_shown_are_those_on_the_cards(mpjpe: str, p_mpjpe: str, model: str, detections: str) -> None:
    published = {score.detections: score for score in model_card(model).published}
    assert (published[detections].mpjpe_mm, published[detections].p_mpjpe_mm) == (float(mpjpe), float(p_mpjpe))
