"""What only this bundle needs: the networks and the adversarial training."""
