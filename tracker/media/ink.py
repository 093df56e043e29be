"""What all drawings have in common: the dark that lies beneath lines and letters, and the letters."""

from __future__ import annotations

import cv2

CASING = (26, 22, 22)
"""Blue, green, red."""
FONT = cv2.FONT_HERSHEY_DUPLEX
