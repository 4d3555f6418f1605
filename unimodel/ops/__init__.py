"""The catalogue: every op, once.

Array ops follow the Array API standard's names, neural ones PyTorch's. ``catalogue`` maps names to definitions; a backend lowers its primitives.
"""

from unimodel.ops.array import *  # noqa: F403  the op modules' public names are this module's
from unimodel.ops.definition import Op as Op
from unimodel.ops.definition import catalogue as catalogue
from unimodel.ops.definition import composite as composite
from unimodel.ops.definition import primitive as primitive
from unimodel.ops.loss import *  # noqa: F403  the op modules' public names are this module's
from unimodel.ops.nn import *  # noqa: F403  the op modules' public names are this module's
from unimodel.ops.optim import *  # noqa: F403  the op modules' public names are this module's
from unimodel.ops.random import *  # noqa: F403  the op modules' public names are this module's
from unimodel.ops.samples import Sample as Sample
