"""Streams that every release must decode: one for each feature of the format; added to, never updated."""
