"""The mixture through time: objects that are born, move, claim detections and die."""
