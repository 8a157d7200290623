"""Tables and figures: records and the paper's values, collected, compared, formatted and drawn."""
