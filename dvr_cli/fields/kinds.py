"""The fields that a run may be made of, by name, and networks from their settings."""

from torch import nn

from dvr_cli.config import Network
from dvr_cli.fields.grid import GridField
from dvr_cli.fields.mlp import Decoder, NetworkField
from dvr_cli.fields.small_network import SmallNetwork

AnyField = GridField | NetworkField


def make_network_field(kind: str, settings: Network) -> NetworkField:
    """A field of the kind `mlp` or `mlp-small`, initialised by torch's global generator, on the CPU."""
    if kind == "mlp":
        network: nn.Module = Decoder(width=settings.width, blocks=settings.blocks)
    else:
        network = SmallNetwork(
            width=settings.width,
            blocks=settings.blocks,
            frequencies=settings.frequencies,
            feature_grids=settings.feature_grids,
            features=settings.features,
        )
    return NetworkField(network, kind, settings)
