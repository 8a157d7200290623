"""Copy a run's records, histories and plans to measurements/<device>/<run>, with the tables of all records so far."""

from ehap.workflow.keeping import main

main(str(__doc__))
