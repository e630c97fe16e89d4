"""A short training of Context-Aware PoseFormer, alone or under torchrun: run with its folder as argument."""

import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch

from h36m_toolbox.models.ca_poseformer import CAPoseFormer, PoseFormerConfig
from h36m_toolbox.models.hrnet import HRNet
from h36m_toolbox.models.pose_transformer import PoseTransformer, TransformerConfig
from h36m_toolbox.models.poseformer_inputs import PoseFormerBatch
from h36m_toolbox.models.poseformer_recipes import PoseFormerRecipe
from h36m_toolbox.models.poseformer_training import train
from h36m_toolbox.models.processes import joined

ROWS = 5


def tiny_model(drop_path: float = 0.5) -> CAPoseFormer:
    """The real network around a narrow backbone."""
    torch.manual_seed(1)
    model = CAPoseFormer(PoseFormerConfig(drop_path=drop_path))
    model.backbone = HRNet(2).requires_grad_(False)
    model.volume_net = PoseTransformer(TransformerConfig(model.backbone.widths, width=32, drop_path=drop_path))
    return model


def given_batches(parts: Iterable[np.ndarray]) -> Iterator[PoseFormerBatch]:
    random = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (ROWS, 256, 192, 3), generator=random, dtype=torch.uint8)[:, :64, :64]
    joints_2d = torch.rand(ROWS, 17, 2, generator=random)
    targets = torch.rand(ROWS, 17, 3, generator=random)
    whole = images, joints_2d, joints_2d * 192, targets - targets[:, :1]
    return (PoseFormerBatch(*(each[part] for each in whole)) for part in parts)


def trained(folder: Path) -> None:
    torch.set_num_threads(1)
    model = tiny_model(drop_path=0.0)  # each process drops on its own
    recipe = PoseFormerRecipe(epochs=2, batch_size=4)  # one frame is left over: one of two processes gets none
    with joined(os.environ) as processes:
        train(model, ROWS, given_batches, recipe, folder, processes=processes)


if __name__ == "__main__":
    trained(Path(sys.argv[1]))
