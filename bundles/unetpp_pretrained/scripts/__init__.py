"""What only this bundle needs: the network, and ImageNet weights for its encoder."""
