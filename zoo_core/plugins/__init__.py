"""The hooks that plugins implement, and who implements them."""
