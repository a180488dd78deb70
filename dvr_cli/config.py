"""The settings of a reconstruction and their presets: the one place where default values stand.

Settings are frozen pydantic models; unknown keys are errors. A preset is an object at the end of this file. How a TOML
file and the command line override a preset is in `config_io`.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class Part(BaseModel):
    """A frozen group of settings that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Level(Part):
    """One level of the coarse-to-fine schedule."""

    voxels: int = Field(ge=16, le=512)
    """Grid vertices per side of the cube; of a network, samples per side at which its surface is extracted."""
    steps: int = Field(ge=1)
    image_size: int | None = Field(default=None, ge=16)
    """Photographs are halved until their longest side is at most this, three times at most; None: not at all."""
    patch_radius: int = Field(default=2, ge=1, le=8)
    """Half width of compared patches, pixels of the shrunk photographs."""
    rays: int | None = Field(default=None, ge=1)
    """Rays per step; None: as many as `rays_per_step`."""
    reach: float = Field(default=0.0, ge=0)
    """Voxels along the ray within which better matches are looked for as the level begins; it shrinks to nothing."""
    final_smoothing: float | None = Field(default=None, ge=0, le=0.7)
    """What the optimiser's smoothing comes to as the level ends; None: the optimiser's own `final_smoothing`."""


class Start(Part):
    """The first field: visual hull carved by coarse multi-view depth (`fitting.initial`)."""

    fill_masks: bool = True
    """Fill holes in masks that nearly all other masks refute (`scenes.mask_repair`), and disregard photographs where a
    part of the object stands elsewhere in them (`scenes.mask_conflicts`)."""
    voxels: int = Field(default=128, ge=16, le=256)
    image_size: int | None = Field(default=400, ge=16)
    """As for a level."""
    carve: bool = True
    pixel_step: int = Field(default=5, ge=1)
    planes: int = Field(default=128, ge=8)
    """Depth hypotheses along the cube's diagonal."""
    sources: int = Field(default=6, ge=2)
    """Views that each view is compared with; the best two count."""
    patch_radius: int = Field(default=2, ge=1)
    noise: float = Field(default=0.002, ge=0)
    """Standard deviation of grey values, 0 to 1, that is not texture."""
    least_score: float = Field(default=0.3, ge=0, le=1)
    """NCC times its lead over the next best depth."""
    tolerance: float = Field(default=2.0, gt=0)
    """Voxels by which confirming depths may differ."""
    confirmations: int = Field(default=2, ge=1)
    see_through: float = Field(default=0.25, ge=0, le=1)
    """Share of the views that see a place on the hull that must have depth behind it for such depth to count: the
    mirror image of a lamp is seen elsewhere on the hull by each of them."""
    margin: float = Field(default=1.5, gt=0)
    """Voxels between a depth and the space that it votes free."""
    certainty: float = Field(default=0.5, gt=0)
    """What a vote for free space counts, in faces of a voxel; ..."""
    surface_worth: float = Field(default=2.0, gt=0)
    """... one for a surface counts as much as so many of these, ..."""
    most_votes: float = Field(default=4.0, gt=0)
    """... and so many of their difference count."""
    shell: float = Field(default=2.5, ge=0)
    """Voxels below the hull's surface that are object unless depths say otherwise: at least ..."""
    free_votes: int = Field(default=2, ge=1)
    """... so many votes for free space, or one for a surface. ..."""
    shell_worth: float = Field(default=1.0, ge=0)
    """... What each of them counts, in faces of a voxel."""


class Surroundings(Part):
    """Scenes without masks: depth of all that the photographs show, and the first field from it."""

    image_size: int = Field(default=240, ge=16)
    """As for a level; of the coarse depth maps."""
    voxels: int = Field(default=96, ge=16, le=256)
    """Vertices per side of the first field."""
    reach: float = Field(default=8.0, gt=1)
    """Radii of the region of interest up to which depth is looked for."""
    sources: int = Field(default=4, ge=2)
    """Views with which each view is compared."""
    noise: float = Field(default=0.01, ge=0)
    largest_cost: float = Field(default=0.8, gt=0)
    """1 - NCC beyond which a depth does not count, whoever confirms it."""
    depth_tolerance: float = Field(default=0.01, gt=0)
    """Relative difference of depths that confirm each other."""
    normal_tolerance: float = Field(default=60.0, gt=0, le=90)
    """Degrees."""
    confirmations: int = Field(default=2, ge=1)
    margin: float = Field(default=1.5, gt=0)
    """Voxels of the first field between a depth and the space that it votes free."""
    certainty: float = Field(default=0.5, gt=0)
    """What a vote counts, in faces of a voxel ..."""
    most_votes: float = Field(default=4.0, gt=0)
    """... and how many votes count."""


class Losses(Part):
    """Weights of the losses; each is in units of its own residual per voxel or grey value (docs/method.md)."""

    photometric: float = Field(default=1.0, ge=0)
    """1 - NCC of patches between views."""
    rgb: float = Field(default=0.05, ge=0)
    """Colour difference; this weight is for the geometry alone, the colours always follow the photographs."""
    free_space: float = Field(default=0.5, ge=0)
    """Squared distance, in voxels, by which the surface stands in the way of a ray past the object."""
    occupancy: float = Field(default=0.3, ge=0)
    """The same by which a ray through the object misses it. Less than free space: where masks contradict each other by
    more than a thin part is thick, equal pulls tear it to shreds."""
    edge_doubt: float = Field(default=0.1, gt=0)
    """Share of the rays just outside masks that hit at which pixels on either side of a mask's edge count half: masks
    are often a pixel off, and then contradict each other."""
    exact_masks: float = Field(default=60.0, ge=0)
    """How much more free space and occupancy count where masks agree to the pixel: this share times the fourth power of
    the trust in edges is added to their weights."""
    inner_edges: float = Field(default=0.3, ge=0)
    """Squared distance, in voxels, from a surface that a neighbouring pixel sees and that matches clearly better."""
    margin: float = Field(default=0.5, ge=0)
    """Voxels by which a ray that was on the wrong side is asked to be on the right one."""
    sparse_depth: float = Field(default=1.0, ge=0)
    """Points on the surface, and along the rays that see them: robust distances in voxels, per point drawn."""
    rims: bool = True
    """Where masks agree to the pixel, points on their contours count as points on the surface."""
    depth: float = Field(default=1.0, ge=0)
    """Dense depth maps: robust distance along the ray in voxels, per pixel drawn."""


class Photometric(Part):
    """How patches are compared."""

    share: float = Field(default=1.0, gt=0, le=1)
    """Share of the rays on the surface that are compared with other views in a step."""
    neighbours: int = Field(default=8, ge=1)
    """Nearest views to choose from."""
    sources: int = Field(default=4, ge=1)
    """Views chosen per ray, one from each group of neighbours / sources."""
    keep: Literal[1, 2] = 2
    """How many of them count, the best ones."""
    agreement: float = Field(default=0.25, gt=0)
    """Voxels that the wishes of the two best views may lie apart for a comparison to count half."""
    noise: float = Field(default=0.002, ge=0)
    """Standard deviation of grey values that is not texture."""


class Optimiser(Part):
    """Gauss-Newton steps on the voxels of a band around the surface."""

    memory: float = Field(default=0.8, ge=0, lt=1)
    """Weight of the sums of earlier steps."""
    damping: float = Field(default=0.4, gt=0)
    """Added to the curvature (per voxel squared): where the data says less than this, the surface hardly moves."""
    rate: float = Field(default=0.5, gt=0, le=1)
    final_rate: float = Field(default=0.2, gt=0, le=1)
    longest_step: float = Field(default=0.2, gt=0)
    """Voxels."""
    smoothing: float = Field(default=0.6, ge=0, le=0.7)
    """Share of the way to the neighbours' mean, there and back, as a level begins; beyond the square root of a half,
    alternating errors would grow ..."""
    final_smoothing: float = Field(default=0.38, ge=0, le=0.7)
    """... and as it ends."""
    half_smoothing: float = Field(default=8.0, gt=0)
    """Curvature (per voxel squared, summed as `memory` says) of the data at which smoothing has half the effect."""
    largest_bump: float = Field(default=2.0, ge=0)
    """Voxels of a grid of 96 per side: second differences over two and four voxels up to which bumps are smoothed where
    hardly anything is known. What bends more is taken for the object's own shape; 0: nothing is smoothed so far."""
    redistancing: float = Field(default=0.03, ge=0, lt=1)
    band: float = Field(default=6.0, gt=1)
    """Half width of the band, voxels."""
    band_every: int = Field(default=2, ge=1)
    """Steps between passes of smoothing and redistancing."""
    colour_rate: float = Field(default=0.5, gt=0, le=1)


class NetworkLosses(Part):
    """Weights of the published losses, which are sums over a step's pixels (docs/method.md); 0 switches one off."""

    rgb: float = Field(default=1.0, ge=0)
    """Absolute difference of colours, summed over the channels."""
    image_gradient: float = Field(default=1.0, ge=0)
    """Difference of the colours' finite differences within 2x2 patches."""
    free_space: float = Field(default=1.0, ge=0)
    """Cross entropy of occupancy on rays past the object."""
    occupancy: float = Field(default=1.0, ge=0)
    """The same on rays through the object that hit nothing."""
    normal: float = Field(default=0.1, ge=0)
    """Difference of normals at neighbouring points."""
    depth: float = Field(default=1.0, ge=0)
    """Distance of the hit from the known depth, in the paper's coordinates."""
    sparse_depth: float = Field(default=1.0, ge=0)
    """The same on rays to known points."""


class Network(Part):
    """Fields that are networks; the defaults are the paper's. Unused with field = "grid"."""

    width: int = Field(default=512, ge=8, le=2048)
    blocks: int = Field(default=5, ge=1, le=16)
    """ResNet blocks."""
    frequencies: int = Field(default=0, ge=0, le=12)
    """Octaves of the positional encoding (mlp-small)."""
    feature_grids: tuple[Annotated[int, Field(ge=2, le=256)], ...] = Field(default=(), max_length=8)
    """Vertices per side of the grids of features that the network is given besides the point (mlp-small)."""
    features: int = Field(default=4, ge=1, le=32)
    """Features per vertex."""
    empty_cells: int | None = Field(default=None, ge=8, le=128)
    """Cells per side of the mask of space so empty that rays are not sampled there; None: they are everywhere."""
    padding: float = Field(default=0.1, ge=0, le=1)
    """By how much the cube in which surfaces are looked for is larger than that of the object."""
    hull_voxels: int | None = Field(default=128, ge=16, le=256)
    """Vertices per side of the visual hull whose depth says where a ray is asked to be occupied, if no depth is known;
    None: anywhere on the ray."""
    start: Literal["random", "hull", "auto"] = "auto"
    """What the network is before the first step: as it is initialised, or fitted to the carved visual hull. auto: the
    hull for runs with a time limit or less than `full_run` steps, in which finding the shape would take all the time.
    """
    start_steps: int = Field(default=400, ge=1)
    """Steps of that fit ..."""
    start_points: int = Field(default=2048, ge=2)
    """... points per step ..."""
    start_rate: float = Field(default=1e-3, gt=0)
    """... and Adam's rate, which falls to a tenth."""
    ray_steps: int = Field(default=16, ge=2)
    """Samples per ray ..."""
    doubled_at: tuple[int, ...] = (50_000, 100_000, 250_000)
    """... doubled at these steps of a run of `full_run` steps."""
    learning_rate: float = Field(default=1e-4, gt=0)
    """Of Adam."""
    halved_at: tuple[int, ...] = (3000, 5000)
    """Epochs, passes over the views, of a run of `full_run` steps at which the learning rate is halved."""
    full_run: int = Field(default=300_000, ge=1)
    """A shorter run (`--time`, `--steps`) passes through the same schedule as much faster."""
    final_rate: float = Field(default=1.0, gt=0, le=1)
    """Share of the learning rate that is left at the end of a level, to which it falls geometrically."""
    views_per_step: int = Field(default=1, ge=1)
    """Photographs from which the pixels of one step are drawn."""
    refinement: int = Field(default=30, ge=0)
    """Steps of the refinement of the extracted mesh."""
    losses: NetworkLosses = NetworkLosses()


class Settings(Part):
    """Everything that decides the result of a reconstruction, apart from the scene."""

    preset: str
    field: Literal["grid", "mlp", "mlp-small"] = "grid"
    """What is optimised: a grid of signed distances, the paper's network, or a small network for processors."""
    image_size: int | None = Field(default=800, ge=32)
    """Longest side in pixels at which photographs are used; None for full size."""
    levels: tuple[Level, ...]
    start: Start = Start()
    surroundings: Surroundings = Surroundings()
    losses: Losses = Losses()
    photometric: Photometric = Photometric()
    optimiser: Optimiser = Optimiser()
    network: Network = Network()
    rays_per_step: int = Field(default=32768, ge=1)
    seed: int = 0
    device: str = "auto"
    threads: int | None = Field(default=None, ge=1)
    """CPU threads; None for all cores."""
    time_limit: float | None = Field(default=None, gt=0)
    """Seconds of optimisation; the schedule is shortened to fit. None: the schedule's own steps."""


FAST = Settings(
    preset="fast",
    levels=(
        Level(voxels=96, image_size=400, steps=220, rays=16384, reach=6),
        Level(voxels=128, steps=75),
        Level(voxels=192, steps=130),
    ),
)

QUALITY = Settings(
    preset="quality",
    image_size=None,
    # There is more that patches of larger photographs ask for: outlines have to keep up with it.
    losses=Losses(free_space=0.65, occupancy=0.39),
    # Photographs are halved: sizes in between would leave those a little larger at half of what fast works with.
    start=Start(image_size=500),
    # The levels of fast, and a finer one on the photographs as they are.
    levels=(
        Level(voxels=96, image_size=500, steps=220, rays=16384, reach=6),
        Level(voxels=128, image_size=1200, steps=75),
        Level(voxels=192, image_size=1200, steps=130),
        # More steps come nearer to what highlights and noise ask for: there is more to smooth than in fast.
        Level(voxels=256, steps=200, final_smoothing=0.45),
    ),
)

PAPER = Settings(
    preset="paper",
    field="mlp",
    image_size=None,
    # The paper does not say when to stop; the last of its milestones lies at 250,000 steps.
    levels=(Level(voxels=512, steps=300_000),),
    rays_per_step=2048,
    network=Network(empty_cells=32),
)

MLP_SMALL = Settings(
    preset="mlp-small",
    field="mlp-small",
    levels=(Level(voxels=256, steps=6000),),
    rays_per_step=4096,
    network=Network(
        width=64, blocks=2, frequencies=4, feature_grids=(16, 32, 64), features=4, empty_cells=64, start="hull",
        start_points=4096, start_rate=5e-3, ray_steps=128, doubled_at=(), learning_rate=2e-3, halved_at=(),
        final_rate=0.05, views_per_step=8,
    ),
)  # fmt: skip

PRESET_OF_FIELD = {"grid": "fast", "mlp": "paper", "mlp-small": "mlp-small"}
"""What a kind of field is fitted with when no preset is named."""

PRESETS: dict[str, Settings] = {settings.preset: settings for settings in (FAST, QUALITY, PAPER, MLP_SMALL)}
