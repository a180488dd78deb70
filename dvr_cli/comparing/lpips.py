"""LPIPS, the perceptual distance of two pictures, from the optional package `lpips`.

Source: R. Zhang, P. Isola, A. Efros, E. Shechtman, O. Wang, "The Unreasonable Effectiveness of Deep Features as a
Perceptual Metric", CVPR 2018. The network's weights are fetched by that package when it is used for the first time.
"""

from importlib import import_module
from typing import Literal
from warnings import catch_warnings, simplefilter

import numpy as np
from jaxtyping import Float

from dvr_cli.errors import CompareError

LEAST_SIDE = 32
"""VGG halves a picture four times before its last layer; smaller ones would leave nothing."""


class Lpips:
    """Perceptual distance of pictures: 0 for equal ones, about 0.6 for unrelated ones."""

    def __init__(self, network: Literal["vgg", "alex"] = "vgg") -> None:
        """Raises CompareError when the package cannot be used or its weights cannot be had."""
        try:
            # By name, since type checkers must not ask for a package that may be absent.
            lpips = import_module("lpips")
        except ImportError as cause:
            raise CompareError(
                f"LPIPS was asked for, but the package lpips cannot be used: {cause}.\n"
                "Install it with: pip install dvr-cli[lpips]; or leave LPIPS out."
            ) from cause
        except (OSError, RuntimeError) as cause:
            # A torchvision that was built for another torch fails in this way.
            raise CompareError(
                f"LPIPS was asked for, but the package lpips does not work with the torch installed: {cause}.\n"
                "Install the torchvision that belongs to it, or leave LPIPS out."
            ) from cause
        self.network = network
        try:
            with catch_warnings():
                # The package calls torchvision in a way that torchvision has since given up.
                simplefilter("ignore")
                self._distance = lpips.LPIPS(net=network, verbose=False).eval()
        except (OSError, RuntimeError) as cause:
            raise CompareError(
                f"The weights of LPIPS's network {network} cannot be had: {cause}.\n"
                "They are fetched from the network once; try again with a connection, or leave LPIPS out."
            ) from cause

    def __call__(self, picture: Float[np.ndarray, "h w 3"], photograph: Float[np.ndarray, "h w 3"]) -> float:
        """Distance of two pictures in [0, 1], as a whole; NaN for pictures that are too small for the network."""
        import torch

        if min(picture.shape[:2]) < LEAST_SIDE:
            return np.nan
        both = (torch.from_numpy(np.float32(image)).permute(2, 0, 1)[None] for image in (picture, photograph))
        with torch.no_grad():
            return float(self._distance(*both, normalize=True))
