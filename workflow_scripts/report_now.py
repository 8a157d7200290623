"""Make the page of results of an unfinished run; the page names the missing records and the commands for them."""

from ehap.workflow.page_now import main

main(str(__doc__))
