"""Applications: the loop from a source to its sinks."""
