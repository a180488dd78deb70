"""Masks made here: before a background of one colour by that, else from the region of interest and sparse points."""

from dvr_cli.scenes.masks.auto.making import make_masks
from dvr_cli.scenes.masks.auto.photographs import Stopped
from dvr_cli.scenes.masks.auto.storing import AutoMasks

__all__ = ["AutoMasks", "Stopped", "make_masks"]
