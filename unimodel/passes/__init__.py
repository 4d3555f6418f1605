"""Graph to graph, one idea a file. ``prepare`` runs them in order for a backend."""

from unimodel.passes.bias import fuse_bias
from unimodel.passes.decompose import decompose
from unimodel.passes.differentiate import differentiate
from unimodel.passes.fold import SCALAR_ARITHMETIC, fold
from unimodel.passes.layout import channels_last
from unimodel.passes.prepare import prepare
from unimodel.passes.rewrite import rewrite
from unimodel.passes.unroll import unroll

__all__ = ["SCALAR_ARITHMETIC", "channels_last", "decompose", "differentiate", "fold", "fuse_bias", "prepare", "rewrite", "unroll"]
