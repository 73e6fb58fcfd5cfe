"""Walks through the latent space, and mixtures of its points."""
