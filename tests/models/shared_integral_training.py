"""A short training of integral regression under torchrun: run with the folder for its checkpoint as argument."""

import os
import sys
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import distributed

from h36m_toolbox.models import create_model
from h36m_toolbox.models.integral_data import Mixture
from h36m_toolbox.models.integral_recipes import IntegralRecipe
from h36m_toolbox.models.integral_training import train
from h36m_toolbox.models.processes import joined
from h36m_toolbox.pose_datasets.patches import Patch
from h36m_toolbox.pose_datasets.people import People


def people(image: Path, count: int) -> People:
    rng = np.random.default_rng(count)
    joints = np.concatenate([rng.uniform(10, 40, (count, 18, 2)), rng.normal(0, 300, (count, 18, 1))], axis=2)
    return People((image,) * count, np.tile([25.0, 25, 40, 40], (count, 1)), joints, np.ones_like(joints))


def trained(folder: Path) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(1)
    model = create_model("integral-direct", layers=18, patch="64x64")
    recipe = IntegralRecipe(epochs=2, batch_size=4, drops=(2,))
    with joined(os.environ) as processes:
        folder.mkdir(parents=True, exist_ok=True)
        image = folder / f"image{processes.rank}.png"
        noise = np.random.default_rng(0).integers(0, 256, (50, 50, 3), dtype=np.uint8)
        cv2.imwrite(str(image), noise)
        mixture = Mixture((people(image, 5), people(image, 6)), Patch(64, 64))
        train(model, mixture, recipe, folder, processes=processes)
        for name, values in model.state_dict().items():
            first = values.clone()
            distributed.broadcast(first, 0)
            assert torch.equal(first, values), f"{name} differs between the processes"


if __name__ == "__main__":
    trained(Path(sys.argv[1]))
