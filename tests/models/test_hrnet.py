"""HRNet gives the official heat maps for the same weights, and has the official entries in every size."""

import numpy as np
import pytest
import torch
from poseformer_goldens import entries_of, golden

from h36m_toolbox.errors import H36MError
from h36m_toolbox.models.hrnet import HRNet, PoseHRNet


@pytest.mark.parametrize("variant", ["plain", "tamed"])
def test_the_heat_maps_of_w32(variant: str) -> None:
    case = golden("hrnet_w32_heatmaps")
    model = case.filled(PoseHRNet(32), tamed=variant == "tamed")
    with torch.inference_mode():
        found = model(case.given("images"))
    case.assert_matches(f"{variant}.heatmaps", found, of_largest=2e-5)
    if variant == "tamed":
        np.testing.assert_array_equal(found.flatten(2).argmax(2), case.output("tamed.heatmap_argmax"))


def test_w48_has_the_official_entries_and_the_feature_network_all_but_the_head() -> None:
    official = golden("names_hrnet_w48_coco").official_entries
    with torch.device("meta"):
        assert entries_of(PoseHRNet(48)) == official
        assert entries_of(HRNet(48)) == [entry for entry in official if not entry.startswith("final_layer")]


def test_a_network_of_no_width_is_refused() -> None:
    with pytest.raises(H36MError, match="width 0"):
        HRNet(0)
