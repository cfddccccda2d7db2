"""Makes data/sample: the log of a fictional deployment, what is planted in it, and the tiny model that was deployed.

    python -m data.generate                 # everything; minutes, trains the model
    python -m data.generate --keep-model    # the log and truth.json only, with the model that is there

Everything is synthetic: Lumio is no product, its customers are no people, and every address, number and key is one
that its issuer reserves for documentation or tests.
"""
