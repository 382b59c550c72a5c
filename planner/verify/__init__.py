"""Measured runs against estimates: read, estimate, score."""
