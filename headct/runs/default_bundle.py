"""The bundle that `predict` takes unless told otherwise."""

__all__ = ["DEFAULT_BUNDLE"]

DEFAULT_BUNDLE = "unetpp_pretrained"
"""Its shipped weights find most in real slices, five types of hemorrhage, with the least false blood in real
scans; the figures are in the bundles' cards."""
