"""What only this bundle needs: the network and the steps around it."""
