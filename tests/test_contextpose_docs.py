"""docs/contextpose.md against the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from h36m_toolbox.benchmarks.protocols import PROTOCOLS
from h36m_toolbox.cli import main
from h36m_toolbox.models.registry import model_card
from h36m_toolbox.models.view_recipes import experiments
from h36m_toolbox.models.volumes import AGGREGATIONS

PAGE = (Path(__file__).parents[1] / "docs" / "contextpose.md").read_text()
ROWS = re.findall(r"\| `(\w+)` \| `([\w-]+)` \| ([\d.]+) \|", PAGE)


def test_every_command_on_the_page_exists_with_its_options() -> None:
    lines = re.findall(r"(?:`|    )h36m ([^`#]*?)(?:`|\n(?! )|  #|\n    h36m)", PAGE)
    lines += re.findall(r"\n    h36m ([^\n#]*)", PAGE)
    assert len(lines) > 8
    for line in lines:
        words = line.split()
        options = {option for param in main.commands[words[0]].params for option in param.opts}
        assert {word for word in words if word.startswith("--")} <= options, line


def test_there_are_seven_figures() -> None:
    assert len(ROWS) == 7


@pytest.mark.parametrize(("model", "protocol", "figure"), ROWS)
def test_the_figures_shown_are_those_on_the_cards(model: str, protocol: str, figure: str) -> None:
    assert {score.protocol: score.mpjpe_mm for score in model_card(model).published}[protocol] == float(figure)
    assert protocol in PROTOCOLS


def test_every_experiment_and_aggregation_is_named() -> None:
    for name in (*experiments(), *AGGREGATIONS):
        assert name in PAGE
