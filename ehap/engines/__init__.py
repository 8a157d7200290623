"""Programs that execute quantized networks with integer kernels."""
