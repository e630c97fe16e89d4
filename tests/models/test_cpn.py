"""CPN-50 gives the official feature maps for the same weights."""

import pytest
import torch
from poseformer_goldens import golden

from h36m_toolbox.models.cpn import CPN


@pytest.mark.parametrize("variant", ["plain", "tamed"])
def test_the_four_feature_maps(variant: str) -> None:
    case = golden("backbone_cpn50")
    model = case.filled(CPN(), tamed=variant == "tamed")
    with torch.inference_mode():
        found = model(case.given("images"))
    for level, each in enumerate(found):
        case.assert_matches(f"{variant}.features{level}", each, of_largest=2e-5)
