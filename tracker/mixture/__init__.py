"""The statistics of mixtures: no boxes, no video, no time."""
