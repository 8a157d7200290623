"""Say which rows of a run's tables come next, how long each should take, and the command for the first."""

from ehap.workflow.upcoming import main

main(str(__doc__))
