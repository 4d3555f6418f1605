"""Its framework is not installed."""

import framework_that_nobody_installed  # noqa: F401  # its absence is what is tested
