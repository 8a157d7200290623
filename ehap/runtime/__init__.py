"""The machine that a job runs on: device, memory, states, files."""
