"""How a network is executed: in which precision its products are, and how the device is given its work."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, get_args

from h36m_toolbox.errors import H36MError

if TYPE_CHECKING:
    from torch import nn

Precision = Literal["fp32", "tf32", "bf16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)


@dataclass(frozen=True)
class Execution:
    """The default is exact: float32 throughout, op by op; on CUDA without the tf32 that torch grants convolutions.

    `precision`: "tf32" rounds the factors of CUDA's products to 10 bits, "bf16" computes in bfloat16 what autocast
    allows; coordinates, projections, triangulation, softmaxes over volumes and what is read out of them stay float32.
    `channels_last` lays out convolutions channel by channel, `compile` is torch.compile, `cuda_graphs` replays the
    whole forward as one launch. Raises H36MError for another precision.
    """

    precision: Precision = "fp32"
    channels_last: bool = False
    compile: bool = False
    cuda_graphs: bool = False

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise H36MError(f"no precision {self.precision!r}; there are {', '.join(PRECISIONS)}")

    def described(self) -> dict[str, Any]:
        """What differs from the default, by name: nothing for the exact execution."""
        return {
            each.name: getattr(self, each.name) for each in fields(self) if getattr(self, each.name) != each.default
        }

    def check(self, device: str) -> None:
        """An H36MError for what a device cannot do."""
        if device.startswith("cuda"):
            return
        if self.precision == "tf32":
            raise H36MError(f"precision tf32 is of CUDA GPUs; on device {device} give fp32 or bf16")
        if self.cuda_graphs:
            raise H36MError(f"CUDA graphs need a CUDA GPU; on device {device} leave --cuda-graphs out")

    def applied(self, model: nn.Module) -> nn.Module:
        """The model, on its device and in eval mode, as it is to be called: executed like this, else the same.

        Shares the model's weights; `channels_last` changes their layout, not their values. Raises as `check`.
        """
        from h36m_toolbox.models.executed import executed

        return executed(model, self)


EXACT = Execution()
