"""Checks that kernel files are plausible Metal Shading Language, without Apple's compiler.

    python tools/msl_check/check.py [--clang COMMAND] [-I DIRECTORY]... FILE...

The default COMMAND is the clang 19 of the package ziglang (in the extra "check"), where that is
installed, else clang++-19.

1. clang compiles the files as "C++ for OpenCL 2021", device, constant, threadgroup and thread being
   its address spaces: mixing spaces, writing to constants, double, wrong arguments and missing
   members are errors.
2. Its syntax tree is searched for what C++ accepts and Metal refuses, or what the other views of a
   kernel would take for something else: pointers and references without an address space, double,
   lambdas, virtual functions, threadgroup arrays outside of kernels, unknown attributes.

Prints one line per mistake and exits with 1 if there is any.
"""

import argparse
import importlib.util
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
SPACES = {"device", "constant", "threadgroup", "thread"}
ATTRIBUTES = {
    "buffer",
    "host_name",
    "thread_position_in_grid",
    "thread_position_in_threadgroup",
    "thread_index_in_threadgroup",
    "threadgroup_position_in_grid",
    "threads_per_grid",
    "threads_per_threadgroup",
    "threadgroups_per_grid",
    "thread_index_in_simdgroup",
    "simdgroup_index_in_threadgroup",
    "simdgroups_per_threadgroup",
    "threads_per_simdgroup",
}
FLAGS = [
    *("-x", "clcpp", "-cl-std=CLC++2021", "--target=x86_64-linux-gnu", "-fsyntax-only"),
    *("-Xclang", "-cl-ext=+cl_khr_fp16,-cl_khr_fp64,-__opencl_c_fp64"),
    *("-nostdinc", "-cl-no-stdinc", "-isystem", str(HERE)),
    *("-DMETAL_COMPAT_MSL_CHECK", "-D__METAL_VERSION__=310"),
    *("-ferror-limit=0", "-Wall", "-Wextra", "-Wno-unknown-attributes"),
    *("-Wno-undefined-inline", "-Wno-undefined-internal", "-Wno-unused-function"),
    *("-Wno-bitwise-instead-of-logical", "-Wno-bitwise-conditional-parentheses"),
]
DECLARATIONS = {"ParmVarDecl", "VarDecl", "FieldDecl"}
CASTS = {"CStyleCastExpr", "CXXStaticCastExpr", "CXXReinterpretCastExpr"}
FORBIDDEN = {
    "LambdaExpr": "lambda expression",
    "CXXNewExpr": "new",
    "CXXDeleteExpr": "delete",
    "GotoStmt": "goto",
    "CXXThrowExpr": "throw",
    "CXXTryStmt": "try",
}


def without_comments(text: str) -> str:
    def blank(match: re.Match[str]) -> str:
        return re.sub(r"[^\n]", " ", match[0])

    return re.sub(r"//[^\n]*|/\*.*?\*/", blank, text, flags=re.S)


def names_space(text: str) -> bool:
    return bool(set(re.findall(r"[A-Za-z_]\w*", text)) & SPACES)


def space_of(pointer: str) -> set[str]:
    """The address space of what a pointer type of clang points to."""
    pointee = pointer.replace("__private", "").split("*")[0]
    return set(re.findall(r"__(?:global|constant|local)\b", pointee)) or {"private"}


class SyntaxTree:
    """Finds mistakes in clang's JSON dump, which names a file only where it changes."""

    def __init__(self) -> None:
        self.file = ""
        self.texts: dict[str, str] = {}
        self.mistakes: dict[str, None] = {}

    def text_of(self, file: str) -> str:
        if file not in self.texts:
            self.texts[file] = Path(file).read_text(encoding="utf-8")
        return self.texts[file]

    def report(self, file: str, offset: int, message: str) -> None:
        line = self.text_of(file).count("\n", 0, offset) + 1
        self.mistakes[f"{Path(file).name}:{line}: {message}"] = None

    def location(self, entry: dict | None) -> tuple[str, int, int] | None:
        """File, offset and length of the token where something was written (or expanded)."""
        if not entry:
            return None
        if "spellingLoc" in entry or "expansionLoc" in entry:
            spelled = self.location(entry.get("spellingLoc"))
            return self.location(entry.get("expansionLoc")) or spelled
        self.file = entry.get("file", self.file)
        if "offset" not in entry:
            return None
        return self.file, entry["offset"], entry.get("tokLen", 1)

    def is_checked(self, file: str) -> bool:
        path = Path(file)
        return path.is_file() and path.parent != HERE and path.parent.name != "compat"

    def visit(self, node: dict, in_kernel: bool = False, implicit: bool = False) -> None:
        place = self.location(node.get("loc"))
        extent = node.get("range", {})
        begin, end = self.location(extent.get("begin")), self.location(extent.get("end"))
        implicit = implicit or node.get("isImplicit", False)
        children = [child for child in node.get("inner", []) if isinstance(child, dict)]
        if node.get("kind") == "FunctionDecl":
            in_kernel = any(child.get("kind") == "AnnotateAttr" for child in children)
        written = begin and end and begin[0] == end[0] and not implicit
        if written and self.is_checked(begin[0]):
            for message in self.judge(node, children, place, begin, end, in_kernel):
                self.report(begin[0], begin[1], message)
        for child in children:
            self.visit(child, in_kernel, implicit)

    def judge(
        self,
        node: dict,
        children: list[dict],
        place: tuple[str, int, int] | None,
        begin: tuple[str, int, int],
        end: tuple[str, int, int],
        in_kernel: bool,
    ) -> Iterator[str]:
        source = self.text_of(begin[0])
        start = begin[1]  # `thread` expands to nothing, so it stands before the range
        while start > 0 and source[start - 1] not in "(),;{}<>":
            start -= 1
        text = source[begin[1] : end[1] + end[2]]
        whole = without_comments(source[start : end[1] + end[2]])
        kind = node.get("kind", "")
        type_name = node.get("type", {}).get("qualType", "")
        is_array = text.startswith("THREADGROUP_ARRAY")

        if kind in DECLARATIONS and re.search(r"[*&]", type_name) and not is_array:
            declared = whole.split("=")[0]
            if re.search(r"[*&]", declared) and not names_space(declared):
                yield "pointer or reference without address space: " + " ".join(declared.split())
        if kind == "ParmVarDecl" and re.match(r"\s*\[\[\s*buffer\s*\(", source[end[1] + end[2] :]):
            if re.search(r"\b(thread|threadgroup)\b", whole):
                yield "a [[buffer]] is device or constant"
        if kind in {"FunctionDecl", "CXXMethodDecl"} and place and begin[0] == place[0]:
            head = without_comments(source[start : place[1]])
            if re.search(r"[*&]\s*$", type_name.split("(")[0]) and not names_space(head):
                yield "returns a pointer or reference without address space"
        if kind in CASTS and type_name.rstrip().endswith("*"):
            yield from self.judge_cast(text, type_name, children)
        if kind == "FloatingLiteral" and type_name == "double":
            yield "double literal " + text
        if kind in DECLARATIONS and re.search(r"\bdouble\b", type_name):
            yield "double"
        if kind in FORBIDDEN:
            yield FORBIDDEN[kind]
        if node.get("virtual"):
            yield "virtual function"
        if kind == "VarDecl" and is_array and not in_kernel:
            yield "threadgroup array outside of a kernel"

    @staticmethod
    def judge_cast(text: str, type_name: str, children: list[dict]) -> Iterator[str]:
        source = children[0].get("type", {}).get("qualType", "") if children else ""
        if "*" in source or source.endswith("]"):
            if len(space_of(type_name)) == 1 and space_of(source) != space_of(type_name):
                yield f"cast changes the address space: {source} to {type_name}"
        head = re.match(r"(?:\(|static_cast\s*<|reinterpret_cast\s*<)([^()]*)", text)
        if head and "*" in head[1] and not names_space(head[1]):
            yield "cast to a pointer without address space: " + " ".join(head[0].split())


def unknown_attributes(path: Path) -> Iterator[str]:
    text = without_comments(path.read_text(encoding="utf-8"))
    for match in re.finditer(r"\[\[\s*(\w+)", text):
        if match[1] not in ATTRIBUTES:
            line = text.count("\n", 0, match.start()) + 1
            yield f"{path.name}:{line}: unknown attribute {match[1]}"


def find_clang() -> list[str] | None:
    if importlib.util.find_spec("ziglang"):
        return [sys.executable, "-m", "ziglang", "clang"]
    return ["clang++-19"] if shutil.which("clang++-19") else None


def check(path: Path, clang: list[str]) -> list[str]:
    command = [*clang, *FLAGS]
    compiled = subprocess.run([*command, str(path)], capture_output=True, text=True, check=False)
    lines = compiled.stderr.splitlines()
    mistakes = [line for line in lines if re.search(r": (error|warning|fatal error):", line)]
    dump = subprocess.run(
        [
            *(*command, "-w", "-DMETAL_COMPAT_MSL_CHECK_TEMPLATES"),
            *("-Xclang", "-ast-dump=json", str(path)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    tree = SyntaxTree()
    if dump.stdout.startswith("{"):
        tree.visit(json.loads(dump.stdout))
    return mistakes + sorted(tree.mistakes) + list(unknown_attributes(path))


def main() -> int:
    parser = argparse.ArgumentParser(description="Checks kernel files with clang.")
    parser.add_argument("--clang", type=shlex.split, default=find_clang())
    parser.add_argument("-I", dest="directories", action="append", default=[], metavar="DIRECTORY")
    parser.add_argument("files", nargs="+", type=Path)
    arguments = parser.parse_args()
    if not arguments.clang:
        print("msl: neither the package ziglang nor clang++-19 is installed")
        return 2
    clang = arguments.clang + [f"-I{directory}" for directory in arguments.directories]
    mistakes = [line for file in arguments.files for line in check(file, clang)]
    print("\n".join(mistakes) if mistakes else f"msl: {len(arguments.files)} files, no mistake")
    return 1 if mistakes else 0


if __name__ == "__main__":
    sys.setrecursionlimit(10000)
    sys.exit(main())
