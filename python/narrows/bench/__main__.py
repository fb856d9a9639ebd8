"""The five workloads, in every order of evaluation, beside peers that are installed.

python -m narrows.bench all --plot build/bench.png
python -m narrows.bench transformer --scale full --device gpu
python -m narrows.bench resnet --cifar cifar-10-batches-bin --widths 1 20
python -m narrows.bench llm --model Llama-3.2-1B --prompt "Once upon a time"
"""

import argparse
import json
import sys
from pathlib import Path

from . import table
from .measure import ORDERS, PEERS, Result, WorkerError, find_peers, measure
from .workloads import WORKLOADS
from .workloads.base import Options


def width(text: str) -> str:
    if text != "unlimited" and not (text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"width {text!r}, expected a positive number or unlimited")
    return text


def peer_python(text: str) -> tuple[str, str]:
    name, _, path = text.partition("=")
    if name not in PEERS or not path:
        known = ", ".join(PEERS)
        raise argparse.ArgumentTypeError(f"{text!r}, expected PEER=PATH, PEER one of {known}")
    return name, path


def positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r}, expected a positive number")
    return int(text)


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m narrows.bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("workload", choices=[*WORKLOADS, "all"])
    add("--scale", choices=["small", "full"], default="small")
    add("--widths", type=width, nargs="*", default=list(ORDERS[1:]), metavar="N")
    add("--device", choices=["cpu", "gpu"], default=None, help="default: the library's")
    add("--rounds", type=positive, default=3, help="in which orders and peers take turns")
    add("--peers", nargs="*", choices=list(PEERS), default=list(PEERS), help="default: installed")
    add("--python", type=peer_python, action="append", default=[], metavar="PEER=PATH")
    add("--mlx-widths", action="store_true", help="MLX's peak for each width, too")
    add("--json", type=Path, metavar="FILE", help="writes all figures")
    add("--plot", type=Path, metavar="FILE", help="draws them; needs matplotlib")
    add("--cifar", metavar="DIR", help="resnet: CIFAR-10's binary version")
    add("--model", metavar="DIR", help="llm, quantize: a checkpoint: config.json, *.safetensors")
    add("--prompt", metavar="TEXT", help="llm: writes the text that follows")
    add("--tokens", type=positive, default=128, help="how many the text has at most")
    add("--temperature", type=float, default=0.0, help="0: the likeliest token each time")
    return parser


def write_json(results: list[Result], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([result.as_data() for result in results], indent=1) + "\n")


def main(arguments: list[str] | None = None) -> int:
    parser = make_parser()
    options = parser.parse_args(arguments)
    if options.device is None:
        import narrows.core as mx

        options.device = mx.default_device().type.name
    if options.prompt is not None:
        if options.workload != "llm" or options.model is None:
            parser.error("--prompt: expected the workload llm and --model")
        from .generate import stream

        stream(
            options.model,
            options.prompt,
            device=options.device,
            count=options.tokens,
            temperature=options.temperature,
        )
        return 0
    names = list(WORKLOADS) if options.workload == "all" else [options.workload]
    results, failed = [], False
    for result in measure(
        names,
        device=options.device,
        options=Options(options.scale, options.cifar, options.model),
        orders=["memory", *dict.fromkeys(options.widths)],
        peers=find_peers(options.peers, dict(options.python)),
        rounds=options.rounds,
        mlx_widths=options.mlx_widths,
    ):
        if isinstance(result, Result):
            results.append(result)
            print(table.table(result, options.rounds), end="\n\n", flush=True)
        else:
            name, error = result
            print(f"{name}: {error}\n", file=sys.stderr, flush=True)
            failed = True
    if len(results) > 1:
        print(table.summary(results), end="\n\n")
    if options.json:
        write_json(results, options.json)
    if options.plot and results:
        from . import plot

        plot.save(results, options.plot)
        print(f"picture: {options.plot}")
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (WorkerError, ValueError, OSError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(1)
