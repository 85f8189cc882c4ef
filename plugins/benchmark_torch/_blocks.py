"""What the networks have beside plain layers. A checkpoint is a pickled module, so these classes are part of its form."""

from __future__ import annotations

import abc

import torch
from torch import nn


class Rounded(nn.Module, abc.ABC):
    """A network that trains in another form than it ships in."""

    @abc.abstractmethod
    def shipped(self) -> nn.Module:
        """What is exported in its place, in evaluation mode; itself it stays as it is."""


class Sum(nn.Module):
    """``one(x) + other(x)``, which must be of one shape: a residual block, where one of them is a shortcut."""

    def __init__(self, one: nn.Module, other: nn.Module) -> None:
        super().__init__()
        self.one, self.other = one, other

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """float32 (N, C, ...) -> float32 (N, D, ...)."""
        return self.one(x) + self.other(x)  # type: ignore[no-any-return]  # modules return Any


class Concatenation(nn.Module):
    """The channels of ``one(x)``, then those of ``other(x)``."""

    def __init__(self, one: nn.Module, other: nn.Module) -> None:
        super().__init__()
        self.one, self.other = one, other

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """float32 (N, C, ...) -> float32 (N, D + E, ...)."""
        return torch.cat((self.one(x), self.other(x)), 1)


class Rescaled(nn.Module):
    """``factor * x + offset``."""

    def __init__(self, factor: float, offset: float) -> None:
        super().__init__()
        self.factor, self.offset = factor, offset

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """float32, any shape."""
        return self.factor * x + self.offset
