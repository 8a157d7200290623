"""The public functions: they check arguments, then call the packages below. ``import ehap`` names them."""
