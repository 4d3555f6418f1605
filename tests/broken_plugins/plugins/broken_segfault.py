"""Crashes the process that imports it, as native code can."""

import ctypes

ctypes.string_at(0)
