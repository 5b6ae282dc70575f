"""Metrics of images: what features say of real and generated ones, and what needs none."""
