"""Turns triples into a data set: rules, splits, the gate, the report and the published snapshot."""
