"""Writes the pages of the reference from the docstrings of the installed package: one a function,
one a class, and an index. Sphinx's own autodoc does not know nanobind's functions."""

import inspect
import re
from pathlib import Path

import narrows.core as mx
import narrows.mlx
import narrows.nn
import narrows.optimizers
import narrows.utils
from sphinx.ext.napoleon import Config, GoogleDocstring

# The topics of the index, with their functions. Functions without a topic are listed at the end.
TOPICS = {
    "Arrays": "array asarray from_dlpack zeros ones empty full zeros_like ones_like empty_like "
    "full_like arange linspace eye identity tri tril triu meshgrid ArrayAt ArrayIterator ArrayLike",
    "Elementwise operations": " ".join(row[0] for row in mx._elementwise_table())
    + " astype where clip round trunc positive degrees radians nan_to_num divmod isclose allclose "
    "array_equal acos acosh asin asinh atan atan2 atanh bitwise_left_shift bitwise_right_shift "
    "conj pow",
    "Reductions and scans": "sum prod mean var std min max minmax argmin argmax all any "
    "count_nonzero logsumexp softmax cumsum cumprod cummax cummin logcumsumexp cumulative_sum "
    "cumulative_prod diff trace",
    "Products": "matmul addmm inner outer kron vecdot tensordot einsum einsum_path gather_mm "
    "block_masked_mm segmented_mm hadamard_transform",
    "Linear algebra": "linalg. matrix_norm",
    "Quantized numbers": "quantize dequantize quantized_matmul gather_qmm qqmm gather_qqmm to_fp8 "
    "from_fp8",
    "Convolutions": "conv1d conv2d conv3d conv_general conv_transpose1d conv_transpose2d "
    "conv_transpose3d convolve max_pool",
    "Shapes": "reshape flatten unflatten squeeze expand_dims atleast_1d atleast_2d atleast_3d "
    "broadcast_to broadcast_arrays broadcast_shapes transpose permute_dims swapaxes moveaxis "
    "matrix_transpose flip roll split unstack stack concatenate concat repeat tile pad diag "
    "diagonal contiguous view as_strided",
    "Indexing": "take take_along_axis put_along_axis slice slice_update masked_scatter nonzero "
    "argwhere bincount histogram",
    "Sorting and searching": "sort argsort partition argpartition topk median searchsorted unique",
    "Random numbers": "random.",
    "Fourier transforms": "fft.",
    "Kernels of one's own": "fast.metal_kernel fast.cuda_kernel fast.precompiled_cuda_kernel",
    "Neural networks in one pass": "fast.batch_norm fast.cross_entropy fast.gated_delta_update "
    "fast.layer_norm fast.rms_norm fast.rope fast.scaled_dot_product_attention",
    "Transformations": "grad value_and_grad vjp jvp vmap compile compile_cache_info "
    "set_compile_cache_limit enable_compile disable_compile checkpoint custom_function "
    "stop_gradient depends",
    "Evaluation and its order": "eval async_eval set_order_policy order_policy set_bfs_max_width "
    "bfs_max_width set_memory_budget memory_budget minimum_budget set_fusion fusion set_tf32 tf32 "
    "tf32_enabled set_auto_eval",
    "Seeing what happens": "plan print_graph export_to_dot profile graph_info get_pending_nodes "
    "set_trace_origin Plan PlanStep Profile",
    "Memory": "get_active_memory get_peak_memory reset_peak_memory get_cache_memory clear_cache "
    "set_cache_limit set_memory_limit get_memory_limit set_offload_limit set_wired_limit "
    "get_array_buffer_size",
    "Arrays in files": "load save savez savez_compressed save_safetensors save_gguf",
    "Functions in files": "export_function import_function exporter FunctionExporter",
    "Devices and streams": "default_device set_default_device default_stream set_default_stream "
    "new_stream new_thread_local_stream new_thread_unsafe_stream stream synchronize clear_streams "
    "is_available device_count device_info Device DeviceType Stream StreamContext "
    "ThreadLocalStream metal. cuda.",
    "Dtypes": "Dtype DtypeCategory finfo iinfo issubdtype isdtype result_type can_cast",
    "Models": "nn.Module nn.Sequential nn.value_and_grad nn.utils.checkpoint nn.quantize",
    "Layers": "nn.Linear nn.Bilinear nn.Identity nn.Embedding nn.Dropout nn.Dropout2d nn.Dropout3d "
    "nn.LayerNorm nn.RMSNorm nn.GroupNorm nn.InstanceNorm nn.BatchNorm nn.Conv1d nn.Conv2d "
    "nn.Conv3d nn.ConvTranspose1d nn.ConvTranspose2d nn.ConvTranspose3d nn.MaxPool1d nn.MaxPool2d "
    "nn.MaxPool3d nn.AvgPool1d nn.AvgPool2d nn.AvgPool3d nn.Upsample nn.RNN nn.GRU nn.LSTM "
    "nn.MultiHeadAttention nn.TransformerEncoderLayer nn.TransformerDecoderLayer "
    "nn.TransformerEncoder nn.TransformerDecoder nn.Transformer nn.RoPE "
    "nn.SinusoidalPositionalEncoding nn.ALiBi nn.QuantizedLinear nn.QuantizedEmbedding nn.QQLinear",
    "Activation functions": " ".join(
        f"nn.{name}"
        for module in (narrows.nn.layers.functions, narrows.nn.layers.activations)
        for name in narrows.nn.__all__
        if getattr(narrows.nn, name).__module__ == module.__name__
    ),
    "Losses": "nn.losses.",
    "First values of parameters": "nn.init.",
    "Optimizers": "optimizers.Optimizer optimizers.SGD optimizers.RMSprop optimizers.Adagrad "
    "optimizers.AdaDelta optimizers.Adam optimizers.AdamW optimizers.Adamax optimizers.Lion "
    "optimizers.Muon optimizers.Adafactor optimizers.MultiOptimizer optimizers.clip_grad_norm "
    "optimizers.exponential_decay optimizers.step_decay optimizers.cosine_decay "
    "optimizers.linear_schedule optimizers.join_schedules",
    "Trees": "utils.",
    "Several processes": "distributed. nn.average_gradients nn.utils.average_gradients "
    "nn.AllToShardedLinear "
    "nn.ShardedToAllLinear nn.QuantizedAllToShardedLinear nn.QuantizedShardedToAllLinear "
    "nn.FullyShardedModule nn.fully_shard "
    "nn.layers.distributed.",
    "Programs for MLX": "mlx.",
    "Printing": "set_printoptions get_printoptions printoptions PrintOptions",
}
MODULES = {
    "": mx,
    "fast.": mx.fast,
    "fft.": mx.fft,
    "random.": mx.random,
    "metal.": mx.metal,
    "cuda.": mx.cuda,
}
# Modules that are written in Python: __all__ lists what is public.
PACKAGES = {
    "distributed.": mx.distributed,
    "mlx.": narrows.mlx,
    "nn.": narrows.nn,
    "nn.init.": narrows.nn.init,
    "nn.layers.distributed.": narrows.nn.layers.distributed,
    "nn.losses.": narrows.nn.losses,
    "nn.utils.": narrows.nn.utils,
    "optimizers.": narrows.optimizers,
    "utils.": narrows.utils,
}
# Names in annotations and defaults, and how they are shown instead.
SHORTER = [
    (r"<function (\w+) at 0x[0-9a-f]+>", r"\1"),
    (r"(: |-> )'([^']*)'", r"\1\2"),
    (r"narrows\.(core|nn\.[\w.]+)\.|collections\.abc\.|typing\.|mx\.", ""),
]
NAPOLEON = Config(napoleon_use_rtype=False)


def public_objects():
    """Every public function and class, by name: `matmul`, `random.key`."""
    found = {}
    for prefix, module in MODULES.items():
        for name, value in sorted(vars(module).items()):
            if not name.startswith("_") and callable(value):
                found[prefix + name] = value
    for prefix, package in PACKAGES.items():
        found |= {prefix + name: getattr(package, name) for name in package.__all__}
    return found


def signatures(function) -> list[str]:
    """As in "(a: array, *, stream: ...) -> array", with the defaults in their places."""
    if not hasattr(function, "__nb_signature__"):
        text = str(inspect.signature(function))
        for pattern, shorter in SHORTER:
            text = re.sub(pattern, shorter, text)
        return [text]
    shown = []
    for text, _, defaults in function.__nb_signature__:
        for i, value in reversed(list(enumerate(defaults or ()))):
            text = text.replace(f"\\{i}", repr(value))
        shown.append(text[text.index("(") :].replace("narrows.core.", ""))
    return shown


def docstring(function) -> str:
    if not hasattr(function, "__nb_signature__"):
        return function.__doc__ or ""
    return next((doc for _, doc, _ in function.__nb_signature__ if doc), "")


def indented(text: str, spaces: int) -> str:
    return "".join(" " * spaces + line if line.strip() else line for line in text.splitlines(True))


def escaped(text: str) -> str:
    """The text with bars escaped: |x| has another meaning in reStructuredText."""
    return text.replace("|", "\\|")


def rest(doc: str) -> str:
    """A docstring as reStructuredText."""
    words, example, code = inspect.cleandoc(doc).partition("\nExample:\n")
    return str(GoogleDocstring(escaped(words) + example + code, NAPOLEON))


def function_text(name: str, function, directive: str) -> str:
    first, *others = [name + text for text in signatures(function)]
    head = f".. py:{directive}:: {first}\n"
    head += "".join(f"{' ' * (len(directive) + 10)}{text}\n" for text in others)
    return f"{head}\n{indented(rest(docstring(function)), 3)}\n"


def class_text(name: str, owner: type) -> str:
    written_in_python = inspect.isfunction(owner.__init__)
    head = name + (signatures(owner)[0].removesuffix(" -> None") if written_in_python else "")
    text = f".. py:class:: {head}\n\n{indented(rest(owner.__doc__ or ''), 3)}\n"
    for member, value in sorted(vars(owner).items()):
        if isinstance(value, (classmethod, staticmethod)):
            value = getattr(owner, member)
        is_method = hasattr(value, "__nb_signature__") or inspect.isroutine(value)
        if is_method and not member.startswith("_"):
            text += "\n" + indented(function_text(member, value, "method"), 3)
        elif isinstance(value, property):
            doc = inspect.cleandoc(value.__doc__ or "")
            doc = doc.partition("\n\n")[2] if doc.startswith(f"{member}(self)") else doc
            text += f"\n   .. py:property:: {member}\n\n{indented(rest(doc), 6)}\n"
        elif member == "__init__" and hasattr(value, "__nb_signature__"):
            text += "\n" + indented(function_text(member, value, "method"), 3)
    return text


def page(name: str, value) -> str:
    full = f"narrows.{name}" if name.startswith(tuple(PACKAGES)) else f"narrows.core.{name}"
    title = f"{name}\n{'=' * len(name)}\n\n"
    module, _, local = full.rpartition(".")
    title += f".. py:currentmodule:: {module}\n\n"
    if isinstance(value, type):
        return title + class_text(local, value)
    if value.__name__ != local:
        title += f"Another name of `{value.__name__}()`.\n\n"
    return title + function_text(local, value, "function")


def summary(value) -> str:
    doc = (value.__doc__ or "") if isinstance(value, type) else docstring(value)
    return doc.strip().partition("\n")[0]


def topics(objects: dict) -> dict[str, list[str]]:
    listed = {}
    for topic, words in TOPICS.items():
        names = []
        for word in words.split():
            every = [n for n in objects if n.startswith(word)] if word.endswith(".") else [word]
            names += [n for n in every if n in objects]
        listed[topic] = names
    named = {name for names in listed.values() for name in names}
    return listed | {"Further": [name for name in objects if name not in named]}


def index(objects: dict) -> str:
    text = "Reference\n=========\n\n`import narrows.core as mx`. Each name has a page. "
    text += (
        "Layers and losses are in `narrows.nn`, optimizers in `narrows.optimizers`, functions of "
    )
    text += "trees in `narrows.utils`.\n\n"
    for topic, names in topics(objects).items():
        if names:
            text += f"{topic}\n{'-' * len(topic)}\n\n.. list-table::\n   :widths: 30 70\n\n"
            for name in names:
                text += f"   * - :doc:`{name} <{name}>`\n     - {escaped(summary(objects[name]))}\n"
            text += "\n"
    text += ".. toctree::\n   :hidden:\n\n"
    return text + "".join(f"   {name}\n" for name in sorted(objects, key=str.lower))


def write(folder: Path) -> None:
    """Writes all pages; only those that changed, so that Sphinx reads no others again."""
    objects = public_objects()
    folder.mkdir(exist_ok=True)
    pages = {f"{name}.rst": page(name, value) for name, value in objects.items()}
    pages["index.rst"] = index(objects)
    for old in folder.glob("*.rst"):
        if old.name not in pages:
            old.unlink()
    for name, text in pages.items():
        file = folder / name
        if not file.exists() or file.read_text() != text:
            file.write_text(text)
