"""Pictures in and out: sources, drawing, sinks."""
