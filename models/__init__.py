"""The networks: one module a paper, the registry, weights and training. Importing this imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from h36m_toolbox.models.registry import create_model, list_models

if TYPE_CHECKING:
    from h36m_toolbox.models.checkpoints import load_weights

__all__ = ["create_model", "list_models", "load_weights"]


def __getattr__(name: str) -> Any:
    if name == "load_weights":
        from h36m_toolbox.models.checkpoints import load_weights

        return load_weights
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
