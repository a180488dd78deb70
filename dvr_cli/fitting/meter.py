"""What steps report, averaged on the device and read now and then: reading waits for the device, so it must be rare."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Measurement:
    """Means over the steps since the last measurement."""

    losses: dict[str, float]
    psnr: float | None
    """Of the colours at the surface, dB; None when nothing was hit."""
    silhouette_iou: float | None


class Meter:
    """Running sums of reported values by name."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, values: dict[str, Tensor]) -> None:
        """Take in what one step reported; nothing is read from the device."""
        for name, value in values.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value
            self._counts[name] = self._counts.get(name, 0) + 1

    def read(self) -> Measurement:
        """Means since the last call."""
        names = list(self._sums)
        sums = torch.stack([self._sums[name].float() for name in names]).tolist() if names else []
        means = {name: total / self._counts[name] for name, total in zip(names, sums, strict=True)}
        self._sums, self._counts = {}, {}
        mse, iou = means.pop("mse", math.nan), means.pop("iou", math.nan)
        psnr = -10 * math.log10(mse) if mse > 0 else None
        return Measurement(means, psnr, iou if math.isfinite(iou) else None)
