"""Jobs, and the files of a run as objects: networks, quantized networks, datasets, states."""
