"""How each number is defined, in a sentence or two, for the report's readers.

A protocol or measure that is not listed here is shown all the same, without a definition.
"""

import re

PROTOCOLS = {
    "dtu": (
        "DTU",
        "DTU",
        "The evaluation of the DTU MVS data set: points on the mesh, thinned to one spacing, against the scanned "
        "reference. Distances of 20 mm or more are dropped, not clamped; accuracy looks at points inside the "
        "observation mask, completeness at reference points above the table's plane.",
    ),
    "tanks": (
        "Tanks and Temples",
        "Tanks and Temples",
        "Share of points that lie within a threshold of the other surface, after thinning both on a voxel grid.",
    ),
    "plain": (
        "Distances to the reference",
        "Distances to the reference",
        "Points drawn uniformly by area on each surface, measured to the other surface.",
    ),
    "images": (
        "Rendered colours against photographs",
        "Colours",
        "The mesh's colours, drawn from the judged views, against the photographs. Depends on the texture as much as "
        "on the shape.",
    ),
    "silhouettes": (
        "Silhouettes against masks",
        "Silhouettes",
        "The outline of the mesh in the judged views against the masks. What lies inside the outline does not count.",
    ),
    "rephotography": (
        "Virtual rephotography",
        "Rephotography",
        "Each judged view is painted through the mesh with the colours of other photographs and compared with its own "
        "photograph. It needs no texture and judges the shape alone: where the shape is wrong, colours land elsewhere.",
    ),
}
"""Title, short title and definition of each protocol."""

_MEASURES = (
    (r"accuracy", "Distance from the mesh to the reference: small when nothing is there that should not be."),
    (r"completeness", "Distance from the reference to the mesh: small when nothing is missing."),
    (r"overall|chamfer", "Mean of accuracy and completeness."),
    (r"precision", "Share of the mesh within the threshold of the reference."),
    (r"recall", "Share of the reference within the threshold of the mesh."),
    (r"f(_?score|1)?(_|$)", "Harmonic mean of precision and recall; 1 is perfect."),
    (r"normal_consistency|normals?", "Mean |n·n'| of normals at nearest points; 1 where they agree."),
    (r"hausdorff", "A percentile of the distances both ways: what the worst parts are like."),
    (r"psnr", "Peak signal to noise ratio of the colours, dB; 6 dB are a factor of two in the error."),
    (r"ssim", "Structural similarity of the pictures; 1 where they are equal."),
    (r"lpips", "Perceptual distance by a network; 0 where pictures are equal."),
    (r"iou", "Area in both outlines over area in either; 1 where they are equal."),
    (r"ncc", "Normalised cross-correlation of small windows; 1 where they agree up to brightness and contrast."),
    (r"covered|coverage", "Share of the object's pixels where a comparison was possible."),
    (r"seconds", "Wall time from the photographs to the mesh, where it was measured."),
    (r"peak_memory_gb", "Peak memory of the process that made the mesh, 10^9 bytes, where it was measured."),
    (r"faces", "Triangles of the mesh after the cleaning that all meshes share."),
)


def protocol_titles(protocol: str) -> tuple[str, str]:
    """What the report calls a protocol, in full and in short."""
    return PROTOCOLS[protocol][:2] if protocol in PROTOCOLS else (protocol, protocol)


def protocol_definition(protocol: str) -> str:
    """How the protocol measures; empty for one that is not known here."""
    return PROTOCOLS[protocol][2] if protocol in PROTOCOLS else ""


def measure_definition(name: str) -> str:
    """What a measure of that name says; empty for one that is not known here."""
    return next((text for pattern, text in _MEASURES if re.match(pattern, name)), "")
