"""Files of a run as objects, and back: networks, quantized networks, datasets, states."""
