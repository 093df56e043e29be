"""Pictures in and out: sources, drawing, sinks."""

# Before PyAV: its wheel brings a libxcb, and OpenCV's windows hang when that one is loaded first.
import cv2 as cv2
