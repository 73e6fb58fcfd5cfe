"""Plain training loops, one file per model, which `train.py` compares with the engine.

A file is named after its model and has PRESET, SETTINGS (applied on top of the preset on both
sides), BF16_SPEED (the engine's required speedup in bf16) and `steps`, a Python generator that
trains one step per `next`. Image pairs come as one tensor, source channels first. The code is what
one would write after a tutorial: float32, contiguous tensors, an optimizer with default settings.
"""
