"""``python -m benchmarks NAME …``: run one benchmark; without arguments, list all."""

from benchmarks.runner import main

if __name__ == "__main__":  # processes that a benchmark starts import this module, too
    main()
