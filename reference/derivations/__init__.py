"""What is derived by hand: networks, activations, losses, stencils, and which form of an equation holds."""
