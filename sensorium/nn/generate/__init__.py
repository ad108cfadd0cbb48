"""Continuing texts with a language model: one loop, and small parts that are handed to it."""
