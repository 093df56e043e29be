"""Detectors: from a picture to boxes with scores."""
