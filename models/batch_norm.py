"""Batch norm over (..., channels), whose batch may be spread over the processes of a run.

torch's own synchronised batch norm runs on CUDA only and takes channels second.
"""

from __future__ import annotations

import torch
from torch import distributed, nn
from torch.distributed.nn.functional import all_reduce
from torch.nn import functional as F


class BatchNorm(nn.BatchNorm1d):
    """Statistics over all axes but the last; over all processes of a run where there are several.

    `biased` averages the biased variance of each batch into the running one, as TensorFlow does; torch's is unbiased.
    """

    def __init__(self, channels: int, eps: float = 1e-5, momentum: float = 0.1, biased: bool = False) -> None:
        super().__init__(channels, eps, momentum)
        self.biased = biased

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        flat = features.flatten(0, -2)
        if not self.training:
            return super().forward(flat).reshape(features.shape)
        if distributed.is_initialized():
            return self._over_processes(flat).reshape(features.shape)
        if not self.biased:
            return super().forward(flat).reshape(features.shape)
        with torch.no_grad():
            variance, mean = torch.var_mean(flat, dim=0, correction=0)
            self._remember(mean, variance)
        normed = F.batch_norm(flat, None, None, self.weight, self.bias, training=True, eps=self.eps)
        return normed.reshape(features.shape)

    def _over_processes(self, flat: torch.Tensor) -> torch.Tensor:
        count = torch.tensor(float(len(flat)), dtype=flat.dtype, device=flat.device)
        distributed.all_reduce(count)
        mean = all_reduce(flat.sum(0)) / count
        centred = flat - mean
        variance = all_reduce(centred.square().sum(0)) / count
        with torch.no_grad():
            self._remember(mean, variance if self.biased else variance * count / (count - 1))
        return centred * torch.rsqrt(variance + self.eps) * self.weight + self.bias

    def _remember(self, mean: torch.Tensor, variance: torch.Tensor) -> None:
        momentum = self.momentum or 0.0
        self.get_buffer("running_mean").lerp_(mean, momentum)
        self.get_buffer("running_var").lerp_(variance, momentum)
        self.get_buffer("num_batches_tracked").add_(1)
