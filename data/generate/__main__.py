"""`python -m data.generate`: writes data/sample/log, data/sample/model and data/sample/truth.json."""

import argparse
import json
import shutil
import sys
from pathlib import Path

from data.generate import deployed, plan, writing
from data.generate.tokens import Codec


def main() -> int:
    """Write the sample; print what it holds as one line of JSON."""
    parser = argparse.ArgumentParser(prog="python -m data.generate", description=__doc__)
    parser.add_argument("--keep-model", action="store_true", help="use the model that is there; rewrite only the log")
    parser.add_argument("--output", type=Path, default=writing.SAMPLE, help="folder to write (default: data/sample)")
    arguments = parser.parse_args()
    model: Path = arguments.output / "model"
    world = plan.deployment()
    if arguments.keep_model:
        codec = Codec.loaded(model)
    else:
        shutil.rmtree(model, ignore_errors=True)
        codec = Codec.trained(writing.texts(world))
        deployed.train(codec, writing.conversations(world, codec), model)
    wanted = writing.to_score(world, codec)
    scored = deployed.token_logprobs(model, list(wanted.values()))
    finished = writing.log(world, codec, dict(zip(wanted, scored, strict=True)))
    writing.write(finished, arguments.output)
    print(json.dumps({"output": str(arguments.output), **finished.truth["total"]}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
