"""A background of one colour, lit unevenly: what the borders of a photograph say about it.

The colour is a polynomial of the position in the image (turntables, sheets of paper and walls are lit smoothly), fitted
to the pixels along the border while those that do not fit (the object leaving the frame, a stand) are dropped. A
background is solid if most of the border fits in most photographs.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, UInt8

BORDER = 0.025
"""Width of the border, share of the shorter side."""
LEAST_NOISE = 2 / 255
"""Standard deviation of a background's colour, at least: half of that comes from rounding and compression alone."""
MOST_NOISE = 8 / 255
"""A background that varies more is none of one colour."""
FITS = 3.5
"""Standard deviations within which a pixel fits."""
TAIL_SHARE = 0.2
"""Of a background's pixels, that differ more than noise does, by dust and by glare beside bright objects ..."""
TAIL = 4.0
"""... so many times more."""
SHADOW_SHARE = 0.2
"""Of a background's pixels, that may lie in a shadow: it keeps the hue ..."""
SHADOW_HUE = 6 / 255
"""... up to this standard deviation ..."""
DARKEST_SHADOW = 0.4
"""... and at least this share of its brightness."""
LEAST_SHADOWED = 0.3
"""Length of a colour in [0, 1]^3; darker backgrounds show no shadows."""
ROUNDS = 8
SOLID_SHARE = 0.6
"""Of the border of a photograph, that must fit ..."""
SOLID_VIEWS = 0.75
"""... in this share of the photographs."""


@dataclass(frozen=True)
class SolidBackground:
    """The colour of the background everywhere in one photograph."""

    colour: Float[np.ndarray, "h w 3"]
    noise: Float[np.ndarray, "3"]
    """Standard deviation around it."""
    share: float
    """Of the border, that fits."""

    def distance(self, image: UInt8[np.ndarray, "h w 3"]) -> Float[np.ndarray, "h w"]:
        """Of each pixel from the background's colour, in standard deviations, over the root of three channels."""
        difference = (image.astype(np.float32) / 255 - self.colour) / self.noise
        return np.sqrt((difference**2).mean(axis=2))

    def density(self, image: UInt8[np.ndarray, "h w 3"]) -> Float[np.ndarray, "h w"]:
        """Of each pixel's colour, where 1 means that all colours in [0, 1]^3 are alike; shadows included."""
        squared = 3 * self.distance(image) ** 2
        plain = np.exp(-0.5 * squared) / np.prod(np.sqrt(2 * np.pi) * self.noise)
        wide = TAIL * self.noise
        tail = np.exp(-0.5 * squared / TAIL**2) / np.prod(np.sqrt(2 * np.pi) * wide)
        lit = (1 - TAIL_SHARE) * plain + TAIL_SHARE * tail
        return (1 - SHADOW_SHARE) * lit + SHADOW_SHARE * self._shadow_density(image)

    def _shadow_density(self, image: UInt8[np.ndarray, "h w 3"]) -> Float[np.ndarray, "h w"]:
        """Of colours that are the background's, darker: any brightness alike, the hue nearly the same."""
        length = np.sqrt((self.colour**2).sum(axis=2))
        axis = self.colour / np.maximum(length, 1e-6)[:, :, None]
        colours = image.astype(np.float32) / 255
        along = (colours * axis).sum(axis=2)
        across = ((colours - along[:, :, None] * axis) ** 2).sum(axis=2)
        spread = SHADOW_HUE**2
        density = np.exp(-0.5 * across / spread) / (
            2 * np.pi * spread * (1 - DARKEST_SHADOW) * np.maximum(length, 1e-6)
        )
        # A shadow on black is nothing that one could see.
        is_shadow = (along > DARKEST_SHADOW * length) & (along <= length) & (length > LEAST_SHADOWED)
        return np.where(is_shadow, density, 0)


def border_of(height: int, width: int) -> Bool[np.ndarray, "h w"]:
    """The pixels along the border of an image."""
    thickness = max(2, round(BORDER * min(height, width)))
    border = np.ones((height, width), bool)
    border[thickness:-thickness, thickness:-thickness] = False
    return border


def solid_background(
    image: UInt8[np.ndarray, "h w 3"], known: Bool[np.ndarray, "h w"] | None = None
) -> SolidBackground:
    """The smooth colour that most of the border has (or the pixels `known` to be background)."""
    height, width = image.shape[:2]
    rows, columns = np.nonzero(border_of(height, width) if known is None else known)
    if len(rows) > 20_000:
        rows, columns = rows[:: len(rows) // 20_000 + 1], columns[:: len(columns) // 20_000 + 1]
    colours = image[rows, columns].astype(np.float64) / 255
    place = np.stack([2 * (columns + 0.5) / width - 1, 2 * (rows + 0.5) / height - 1])
    centre = _most_frequent(image[rows, columns]) / 255
    fits = np.abs(colours - centre).max(axis=1) < 0.1
    coefficients, noise, spread = np.zeros((6, 3)), np.full(3, LEAST_NOISE), np.zeros(3)
    coefficients[0] = centre
    for round_ in range(ROUNDS):
        degree = _degree(place[:, fits], 2 if round_ >= ROUNDS // 2 else 1)
        terms = _terms(place[0], place[1], degree)
        coefficients = np.zeros((6, 3))
        coefficients[: terms.shape[1]] = np.linalg.lstsq(terms[fits], colours[fits], rcond=None)[0]
        residual = colours - terms @ coefficients[: terms.shape[1]]
        spread = 1.4826 * np.median(np.abs(residual[fits]), axis=0)
        noise = np.clip(spread, LEAST_NOISE, MOST_NOISE)
        close = (np.abs(residual) / noise).max(axis=1) < FITS
        if close.sum() < 20:
            break
        fits = close
    grid = np.meshgrid(2 * (np.arange(width) + 0.5) / width - 1, 2 * (np.arange(height) + 0.5) / height - 1)
    everywhere = _terms(grid[0].ravel(), grid[1].ravel(), 2) @ coefficients
    colour = np.clip(everywhere, 0, 1).reshape(height, width, 3).astype(np.float32)
    # Of a textured background as many pixels fit, but they fill the whole band that counts as fitting.
    share = float(fits.mean()) if spread.max() <= MOST_NOISE else 0.0
    return SolidBackground(colour, noise.astype(np.float32), share)


def is_solid(backgrounds: list[SolidBackground]) -> bool:
    """Whether most of the border fits in most photographs."""
    shares = np.array([background.share for background in backgrounds])
    return bool((shares >= SOLID_SHARE).mean() >= SOLID_VIEWS)


def _most_frequent(colours: UInt8[np.ndarray, "p 3"]) -> Float[np.ndarray, "3"]:
    """The middle of the colours around the most frequent one, 0 to 255."""
    coarse = (colours // 16).astype(np.int64) @ np.array([256, 16, 1])
    most = np.bincount(coarse).argmax()
    cell = np.array([most // 256, most // 16 % 16, most % 16]) * 16 + 7.5
    near = np.abs(colours - cell).max(axis=1) < 20
    return np.median(colours[near], axis=0)


def _degree(place: Float[np.ndarray, "2 p"], most: int) -> int:
    """Of a polynomial through these pixels that does not run away between and beyond them."""
    if place.shape[1] < 20 or min(place.std(axis=1)) < 0.2:
        return 0
    x, y = place
    on_all_sides = min((x < -0.5).mean(), (x > 0.5).mean(), (y < -0.5).mean(), (y > 0.5).mean()) > 0.05
    return most if on_all_sides else 1


def _terms(x: Float[np.ndarray, "p"], y: Float[np.ndarray, "p"], degree: int) -> Float[np.ndarray, "p t"]:
    """1; x, y; x^2, xy, y^2."""
    terms = [np.ones_like(x)]
    if degree >= 1:
        terms += [x, y]
    if degree >= 2:
        terms += [x * x, x * y, y * y]
    return np.stack(terms, axis=1)
