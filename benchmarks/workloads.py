"""Workloads made of plain operations: each function returns one that records a graph and returns
its outputs. `scale` multiplies sizes of matrices."""


def weights(mx, *shapes):
    arrays = [mx.full(shape, 1 / shape[0]) for shape in shapes]
    mx.eval(arrays)
    return arrays


def normalized(mx, x, gain):
    centered = x - mx.mean(x, axis=-1, keepdims=True)
    variance = mx.mean(centered * centered, axis=-1, keepdims=True)
    return centered * mx.rsqrt(variance + 1e-5) * gain


def adam(mx, parameters, gradients, moments, rate=1e-3):
    """New parameters and moments, (first, second) for each parameter."""
    updated = []
    for p, g, (m, v) in zip(parameters, gradients, moments, strict=True):
        m = 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * mx.square(g)
        updated.append((p - rate * m / (mx.sqrt(v) + 1e-8), m, v))
    return updated


def cast(mx, scale):
    return lambda: [mx.zeros((4096, 128), mx.int64).astype(mx.int8) for _ in range(1000)]


def transformer(mx, scale, apply=lambda layer: layer, batch=4, is_fast=False):
    """A training step of 12 layers: loss and gradients. `is_fast`: attention is one operation."""
    d, heads, length, layers = 128 * scale, 4, 128, 12
    shapes = [(d, 3 * d), (d, d), (d, 4 * d), (4 * d, d), (d,), (d,)]
    parameters = weights(mx, *shapes * layers)
    x0, target = weights(mx, (batch, length, d), (batch, length, d))

    def layer(x, qkv, out, up, down, gain1, gain2):
        def split(a):
            return mx.transpose(mx.reshape(a, (batch, length, heads, d // heads)), (0, 2, 1, 3))

        q, k, v = (split(part) for part in mx.split(normalized(mx, x, gain1) @ qkv, 3, axis=-1))
        if is_fast:
            mixed = mx.fast.scaled_dot_product_attention(q, k, v, scale=(d // heads) ** -0.5)
        else:
            scores = (q * (d // heads) ** -0.5) @ mx.transpose(k, (0, 1, 3, 2))
            mixed = mx.softmax(scores, axis=-1) @ v
        mixed = mx.transpose(mixed, (0, 2, 1, 3))
        x = x + mx.reshape(mixed, (batch, length, d)) @ out
        hidden = normalized(mx, x, gain2) @ up
        return x + (hidden * 0.5 * (1 + mx.erf(hidden / 2**0.5))) @ down

    step = apply(layer)

    def loss(parameters):
        x = x0
        for i in range(layers):
            x = step(x, *parameters[6 * i : 6 * i + 6])
        return mx.mean(mx.square(x - target))

    gradient = mx.value_and_grad(loss)
    return lambda: gradient(parameters)


def checkpointed(mx, scale):
    """The same, every layer computed again on the way back."""
    return transformer(mx, scale, mx.checkpoint)


def flash(mx, scale):
    """The same without matrices of attention."""
    return transformer(mx, scale, is_fast=True)


def lstm(mx, scale):
    """A training step over a sequence of 60 inputs: loss and gradients."""
    width, batch, length = 128 * scale, 256, 60
    parameters = weights(mx, (width, 4 * width), (width, 4 * width), (4 * width,))
    inputs = weights(mx, *[(batch, width)] * length)
    start, target = weights(mx, (batch, width), (batch, width))

    def loss(parameters):
        from_input, from_hidden, bias = parameters
        hidden = cell = start
        for x in inputs:
            gates = mx.split(x @ from_input + hidden @ from_hidden + bias, 4, axis=-1)
            taken, kept, shown = (mx.sigmoid(gate) for gate in gates[:3])
            cell = kept * cell + taken * mx.tanh(gates[3])
            hidden = shown * mx.tanh(cell)
        return mx.mean(mx.square(hidden - target))

    gradient = mx.value_and_grad(loss)
    return lambda: gradient(parameters)


def mlp(mx, scale, batch=1024):
    """A training step with Adam."""
    width, layers = 256 * scale, 8
    parameters = weights(mx, *[(width, width)] * layers)
    moments = list(zip(weights(mx, *[(width, width)] * layers), parameters, strict=True))
    x, target = weights(mx, (batch, width), (batch, width))

    def loss(parameters):
        h = x
        for w in parameters:
            h = mx.maximum(h @ w, 0)
        return mx.mean(mx.square(h - target))

    gradient = mx.value_and_grad(loss)

    def record():
        value, gradients = gradient(parameters)
        return [value, adam(mx, parameters, gradients, moments)]

    return record


def residual(mx, scale):
    width, layers, batch = 256 * scale, 16, 1024
    parameters = weights(mx, *[(width, width)] * (2 * layers))
    (x0,) = weights(mx, (batch, width))

    def loss(parameters):
        x = x0
        for i in range(layers):
            x = x + mx.tanh(x @ parameters[2 * i]) @ parameters[2 * i + 1]
        return mx.mean(mx.square(x))

    gradient = mx.grad(loss)
    return lambda: gradient(parameters)


def decode(mx, scale):
    """One token: all caches are outputs, updated out of place."""
    d, hidden, length, layers = 512 * scale, 2048 * scale, 512, 12
    parts = weights(mx, *[(d, d), (d, d), (d, d), (d, hidden), (d, hidden), (hidden, d)] * layers)
    caches = weights(mx, *[(length, d)] * (2 * layers))
    (x0,) = weights(mx, (1, d))

    def record():
        x, outputs = x0, []
        for i in range(layers):
            q, k, o, up, gate, down = parts[6 * i : 6 * i + 6]
            keys = mx.concatenate([caches[2 * i][1:], x @ k])
            values = mx.concatenate([caches[2 * i + 1][1:], x])
            outputs += [keys, values]
            scores = mx.softmax((x @ q) @ mx.transpose(keys), axis=-1)
            x = x + (scores @ values) @ o
            x = x + ((x @ up) * mx.sigmoid(x @ gate)) @ down
        return [x, *outputs]

    return record


def reductions(mx, scale):
    """200 arrays are cast and scaled by their rows' ranges, as in quantization."""

    def record():
        outputs = []
        for i in range(200):
            w = mx.full((256 * (1 + i % 4), 1024), 0.5, mx.float16).astype(mx.float32)
            lowest = mx.min(w, axis=-1, keepdims=True)
            step = (mx.max(w, axis=-1, keepdims=True) - lowest) / 15
            outputs += [((w - lowest) / (step + 1)).astype(mx.int8), step, lowest]
        return outputs

    return record


WORKLOADS = {
    f.__name__: f
    for f in [cast, transformer, checkpointed, flash, lstm, mlp, residual, decode, reductions]
}
