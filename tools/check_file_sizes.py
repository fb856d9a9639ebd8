"""Checks that no source file grows beyond what one can read in a sitting.

    python tools/check_file_sizes.py [ROOT]

More than 500 lines is a warning, more than 800 an error (exit status 1). Tables (.def) are exempt.
"""

import sys
from pathlib import Path

WARN_LINES = 500
MOST_LINES = 800
TOPS = ("cpp", "metal_kernels", "python", "tests", "benchmarks", "examples", "tools", "cmake")
SUFFIXES = {".h", ".hpp", ".cpp", ".metal", ".mm", ".cu", ".cuh", ".py", ".cmake"}


def main() -> int:
    root = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent.parent)
    sizes = sorted(
        (len(path.read_text(encoding="utf-8").splitlines()), path.relative_to(root))
        for top in TOPS
        for path in (root / top).rglob("*")
        if path.suffix in SUFFIXES and path.is_file()
    )
    for lines, path in sizes:
        if lines > MOST_LINES:
            print(f"{path}: error: {lines} lines, at most {MOST_LINES} are allowed")
        elif lines > WARN_LINES:
            print(f"{path}: warning: {lines} lines, more than {WARN_LINES}")
    too_long = sum(lines > MOST_LINES for lines, _ in sizes)
    print(f"file sizes: {len(sizes)} files, {too_long} too long")
    return 1 if too_long else 0


if __name__ == "__main__":
    sys.exit(main())
