"""Prints requirements that pyproject.toml lists, one a line, for `pip install -r`.

    python tools/list_requirements.py build test demo

`build` stands for what building needs; other names are those of the project's extras.
"""

import sys
from pathlib import Path

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    from pip._vendor import tomli as tomllib


def main() -> None:
    pyproject = Path(__file__).parent.parent / "pyproject.toml"
    table = tomllib.loads(pyproject.read_text(encoding="utf-8"))
    groups = {
        "build": table["build-system"]["requires"],
        **table["project"]["optional-dependencies"],
    }
    for name in sys.argv[1:]:
        print("\n".join(groups[name]))


if __name__ == "__main__":
    main()
