"""The engine, under the name by which this package knows it; `_native.pyi` says what is in it."""

from proxyless_native._native import *  # noqa: F403 - its names are those of the native module
