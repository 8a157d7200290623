"""One run() a stage: read files, compute, write files. The only code that knows what lies in a run's folder."""
