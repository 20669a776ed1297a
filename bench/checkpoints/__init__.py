"""Lossless packing of what training leaves behind: weights and the state of Adam."""
