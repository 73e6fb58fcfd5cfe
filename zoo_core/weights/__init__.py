"""Registered weights and weights files: finding, verifying, loading and saving them."""
