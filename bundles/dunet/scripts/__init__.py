"""What only this bundle needs: networks, windows of slices, the threshold baseline, choice of an epoch."""
