"""One module per log format; `registry` finds the one that fits a record."""
