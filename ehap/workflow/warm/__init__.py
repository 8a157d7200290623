"""A Python for short jobs that has imported their libraries already: importing torch is most of a short job's time.

``server.py`` imports the libraries once and forks for each job; ``client.py`` takes the place of the interpreter in a
job's command line. Both run as scripts, and import nothing of this package. ``starting.py`` is Snakemake's side.
"""
