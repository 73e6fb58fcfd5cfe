"""Latent interpolation and style mixing."""
