"""The machine of a job: device, memory, checkpoints, files."""
