"""Plain training loops, one file a model, that `train.py` sets beside the engine.

A file is called like the model it trains and has PRESET, SETTINGS (laid over the preset on both
sides), BF16_SPEED (how many times as fast the engine is to be in bf16) and `steps`, a generator
that trains one step for every `next`; pairs come to it as one tensor, the channels of the source
first. What is in it is what one would write after a tutorial: float32, contiguous tensors, an
optimizer with its default settings.
"""
