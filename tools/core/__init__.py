"""What everything else is built on: errors, files, names, tables, tensors. It imports nothing of ours."""

from typing import TYPE_CHECKING

from tools.core.lazy import lazy_exports

if TYPE_CHECKING:
    from tools.core.errors import InputError
    from tools.core.files import write_bytes
    from tools.core.flags import is_true

__all__ = ["InputError", "is_true", "write_bytes"]

__getattr__ = lazy_exports(__name__, __file__)
