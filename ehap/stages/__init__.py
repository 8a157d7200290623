"""Stages: each module has the run() of one script, which reads the job's files, computes and writes."""
