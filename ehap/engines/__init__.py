"""Engines: programs that execute quantized networks with integer kernels."""
