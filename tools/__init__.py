"""Shared building blocks of the hemorrhage bundles: one file, one idea. Research use only."""

__version__ = "0.1.0"
