"""Flip test and ensemble serve any predictor."""

import numpy as np
import pytest
import torch

from h36m_toolbox.errors import H36MError
from h36m_toolbox.models import create_model
from h36m_toolbox.models.test_time import Mirror, ensembled, flip_tested, mirrored_poses
from h36m_toolbox.skeletons import H36M_16, H36M_17


def test_a_mirrored_pose_has_its_sides_exchanged_and_mirrors_back() -> None:
    poses = torch.randn(4, 17, 3)
    mirrored = mirrored_poses(poses, H36M_17, 99.0)
    left, right = H36M_17.indices(("LWrist", "RWrist"))
    assert (mirrored[:, left, 0] == 99 - poses[:, right, 0]).all()
    assert (mirrored[:, left, 1:] == poses[:, right, 1:]).all()
    torch.testing.assert_close(mirrored_poses(mirrored, H36M_17, 99.0), poses)


def test_a_lifter_is_flip_tested_as_an_image_model_is() -> None:
    torch.manual_seed(0)
    model = create_model("semgcn", hid_dim=8, num_layers=1).eval()
    mirror = Mirror(lambda poses: mirrored_poses(poses, H36M_16), lambda poses: mirrored_poses(poses, H36M_16))
    both = flip_tested(model, mirror)
    given = torch.randn(3, 16, 2)
    with torch.inference_mode():
        found, of_mirror = both(given), both(mirror.inputs(given))
        assert not torch.allclose(model(given), found)
    torch.testing.assert_close(found, mirrored_poses(of_mirror, H36M_16))


@pytest.mark.parametrize("count", [1, 2, 5])
def test_an_ensemble_is_the_mean_whatever_their_number(count: int) -> None:
    values = np.random.default_rng(0).normal(size=count)
    predictors = [lambda batch, value=value: batch + value for value in values]
    found = ensembled(predictors)(torch.zeros(2, 3, dtype=torch.float64))
    np.testing.assert_allclose(found, values.mean(), rtol=1e-12)


def test_an_ensemble_of_nobody_is_refused() -> None:
    with pytest.raises(H36MError, match="ensemble of no models"):
        ensembled([])
