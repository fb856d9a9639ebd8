"""A plugin of pytest for mlx-lm's own tests: the model that they download is a small random one.

    pip install mlx-lm pytest; pip download --no-deps --no-binary :all: mlx-lm; tar xf mlx_lm-*.gz
    cd mlx_lm-*/ && PYTHONPATH=NARROWS/tests/python python -m narrows.mlx -m pytest \
        -p mlx_lm_stand_in tests/test_models.py tests/test_prompt_cache.py

The model has 4-bit weights, as the one has that it stands in for.
"""

import tempfile
from pathlib import Path

import mlx_lm
import mlx_lm.utils
from mlx_lm_model import write_checkpoint

real_load = mlx_lm.utils.load
# Its heads have 32 dimensions: a multiple of what is quantized together.
KIND = "qwen3"
directories = {}


def load_stand_in(path, *arguments, **settings):
    """What mlx_lm.load gives, for a directory; a name of a repository gives the small model."""
    if Path(path).is_dir():
        return real_load(path, *arguments, **settings)
    if KIND not in directories:
        directories[KIND] = tempfile.TemporaryDirectory()
        write_checkpoint(KIND, Path(directories[KIND].name))
    loaded = real_load(directories[KIND].name, *arguments, **settings)
    model, config = loaded[0], {}
    mlx_lm.utils.quantize_model(model, config, group_size=32, bits=4)
    return loaded


mlx_lm.load = mlx_lm.utils.load = load_stand_in
