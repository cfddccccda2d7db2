"""Turns the logs of a deployed language model into Delta tables of interactions, feedback and triples."""
