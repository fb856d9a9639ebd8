"""Checks that every file includes only what its layer may see.

    python tools/check_layers.py [ROOT]

Prints one line per forbidden include and exits with 1 if there is any.
"""

import re
import sys
from pathlib import Path

SUFFIXES = {".h", ".hpp", ".cpp", ".def", ".metal", ".mm", ".cu", ".cuh"}
INCLUDE = re.compile(
    r'^\s*#\s*(?:include|import)\s*(?:"([^"]+)"|<((?:narrows|metal_kernels)/[^>]+)>)'
)

# "table": the tables in metal_kernels/, of operations and of families, which everything is
# generated from.
CORE = {"core", "table"}
RUNTIME = CORE | {"runtime", "metal_kernels"}
# The folders of a graph's way from recording to reports.
PIPELINE = ("record", "walk", "plan", "fuse", "order", "run", "observe")
GRAPH = RUNTIME | set(PIPELINE)
OPS = GRAPH | {"ops"}
IO = OPS | {"io"}
TRANSFORMS = IO | {"transforms"}
ALL_BUT_BACKENDS = TRANSFORMS | {"umbrella"}

# layer -> the layers that it may include. A backend is "backend/<name>". It may also include itself
# and "backend/gpu", which GPU backends share.
MAY_INCLUDE = {
    "core": CORE,
    "runtime": RUNTIME,
    **dict.fromkeys(PIPELINE, GRAPH),
    "ops": OPS,
    "io": IO,
    "transforms": TRANSFORMS,
    "umbrella": ALL_BUT_BACKENDS,
    "bindings": ALL_BUT_BACKENDS | {"bindings"},
    "metal_kernels": {"metal_kernels", "table"},
    "table": set(),
}
BACKEND_MAY_INCLUDE = RUNTIME


def layer_of(path: Path) -> str | None:
    """The layer of a file given by its path below the root; None for files outside of layers."""
    parts = path.parts
    if parts[0] == "metal_kernels" and path.suffix == ".def":
        return "table"
    if parts[0] == "metal_kernels":
        return "metal_kernels"
    if parts[:2] == ("python", "bindings"):
        return "bindings"
    if parts[:2] != ("cpp", "narrows"):
        return None
    inner = parts[2:]
    if len(inner) == 1:
        return {"registry.cpp": "registry", "narrows.h": "umbrella"}.get(inner[0], "unknown")
    if inner[0] == "backend":
        return f"backend/{inner[1]}" if len(inner) > 2 else "unknown"
    return inner[0] if inner[0] in MAY_INCLUDE else "unknown"


def resolve(root: Path, source: Path, name: str) -> Path | None:
    """The included file's path below the root; None if it is no file of the project."""
    for base in (source.parent, root / "cpp", root):
        candidate = (base / name).resolve()
        if candidate.is_file() and candidate.is_relative_to(root):
            return candidate.relative_to(root)
    return None


def is_allowed(source: str, target: str) -> bool:
    if source == "registry":
        return target in RUNTIME or target.startswith("backend/")
    if source.startswith("backend/"):
        return target in BACKEND_MAY_INCLUDE or target in {source, "backend/gpu"}
    return target in MAY_INCLUDE[source]


def check_file(root: Path, source: Path) -> list[str]:
    path = source.relative_to(root)
    layer = layer_of(path)
    if layer is None:
        return []
    if layer == "unknown":
        return [f"{path}:1: in no known layer; tools/check_layers.py lists them"]
    mistakes = []
    for number, line in enumerate(source.read_text(encoding="utf-8").splitlines(), 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        name = match[1] or match[2]
        target_path = resolve(root, source, name)
        if target_path is None:
            # A quoted or narrows/ include without a file is an error that the compiler reports, but
            # metal_kernels must not include any headers from elsewhere.
            if layer == "metal_kernels":
                mistakes.append(f"{path}:{number}: metal_kernels includes {name} from outside")
            continue
        target = layer_of(target_path) or "outside"
        if not is_allowed(layer, target):
            mistakes.append(f"{path}:{number}: {layer} must not include {target} ({target_path})")
    return mistakes


def main() -> int:
    root = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent.parent).resolve()
    sources = sorted(
        path
        for top in ("cpp", "metal_kernels", "python/bindings")
        for path in (root / top).rglob("*")
        if path.suffix in SUFFIXES and path.is_file()
    )
    mistakes = [mistake for source in sources for mistake in check_file(root, source)]
    print("\n".join(mistakes) if mistakes else f"layers: {len(sources)} files, no mistake")
    return 1 if mistakes else 0


if __name__ == "__main__":
    sys.exit(main())
