"""From a name to tensors, and back."""
