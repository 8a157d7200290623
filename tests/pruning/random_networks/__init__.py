"""Small random networks with code of their own, as people write it, and what is asked of each of them."""
