"""Networks without batch norms of their own give the maps of those with them."""

import pytest
import torch
from torch import nn

from h36m_toolbox.models.cpn import CPN
from h36m_toolbox.models.folded_norms import with_folded_norms
from h36m_toolbox.models.hrnet import HRNet

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("build", [lambda: HRNet(4), CPN])
def test_maps_stay_and_the_network_too(build: type[nn.Module]) -> None:
    torch.manual_seed(0)
    network = build().eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
            module.weight.data.uniform_(0.5, 1.5)
    before = {name: values.clone() for name, values in network.state_dict().items()}
    folded = with_folded_norms(network)
    images = torch.randn(1, 3, 128, 96)
    with torch.inference_mode():
        for found, expected in zip(folded(images), network(images), strict=True):
            torch.testing.assert_close(found, expected, rtol=0, atol=2e-5 * float(expected.abs().max()))
    assert all(torch.equal(values, before[name]) for name, values in network.state_dict().items())
    norms = [name for name, module in folded.named_modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(norms) <= 4  # CPN's heads, which do not run
