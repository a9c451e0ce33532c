"""Shared building blocks of the hemorrhage bundles: one file, one idea. Research use only."""

import logging
import warnings

__version__ = "0.1.0"

# MONAI says at every start that it has no decoder for NVIDIA's cards; nothing here asks for one.
logging.getLogger("monai.data.nvimgcodec_pydicom_plugin").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", "NvImgCodecPydicomReader: nvImageCodec")
