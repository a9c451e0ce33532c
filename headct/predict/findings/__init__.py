"""Numbers of a label map: lesions, midline shift, and what makes them doubtful."""
