"""What is measured of a run: the noise of its gradients, the roofline of its machine."""
