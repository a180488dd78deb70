"""What decides how photographs are combined; the defaults are measured on held-out views (docs/export.md)."""

from dataclasses import dataclass


@dataclass(frozen=True)
class BakeSettings:
    """Lengths are in pixels of the photographs unless said otherwise."""

    views: int = 6
    """Photographs that have a say at each point, at most; their weights fall to zero before the next one takes over."""
    steepest: float = 0.15
    """Cosine of the angle between view and normal from which a photograph begins to count."""
    erosion: float = 0.75
    """Pixels nearer than this to a silhouette, a mask's border or an occluding edge have no say."""
    ramp: float = 0.003
    """Over this share of a photograph's longer side trust rises from such a border to its full value."""
    outlier: float = 0.08
    """Colours (of 0 to 1) that differ by more than about this from the other photographs' lose their say."""
    exposure: bool = True
    """Whether differences of exposure between photographs are evened out by one gain each."""
    focus: bool = True
    """Whether photographs that are more blurred than the others lose their say."""
    smoothing: int = 10
    """Steps over the mesh's edges that part slow differences between photographs, which are evened out, from detail."""
    flatness: float = 0.5
    """Power of the qualities that weigh the photographs in the level that all are brought to; 0: all the same."""
    depth_side: int = 1024
    """Longest side of the depth maps that say what hides what."""
    texels_at_a_time: int = 60_000
    """For each thread; so many that their arrays stay in the cache."""
