"""Latent interpolation, style mixing, and files of latents."""
