"""The published formulas of the optimizers, in NumPy and float64: what the tests compare with.

Each function makes one step for one parameter. It changes the dict `state`, whose names are those
of the states of optimizers, and returns the new parameter. `t` counts steps from 1.
"""

import numpy as np


def average(state, name, beta, value):
    """The exponential moving average of the values so far, from zero."""
    state[name] = beta * state.get(name, np.zeros_like(value)) + (1 - beta) * value
    return state[name]


def rms(x):
    return np.sqrt(np.mean(x**2))


def sgd(p, g, state, t, lr, momentum=0.0, weight_decay=0.0, dampening=0.0, nesterov=False):
    g = g + weight_decay * p
    if momentum == 0:
        return p - lr * g
    # The first gradient is damped, too.
    state["v"] = momentum * state.get("v", 0.0) + (1 - dampening) * g
    return p - lr * (g + momentum * state["v"] if nesterov else state["v"])


def rmsprop(p, g, state, t, lr, alpha=0.99, eps=1e-8):
    return p - lr * g / (np.sqrt(average(state, "v", alpha, g**2)) + eps)


def adagrad(p, g, state, t, lr, eps=1e-8):
    state["v"] = state.get("v", 0.0) + g**2
    return p - lr * g / (np.sqrt(state["v"]) + eps)


def adadelta(p, g, state, t, lr, rho=0.9, eps=1e-6):
    v = average(state, "v", rho, g**2)
    step = np.sqrt(state.get("u", 0.0) + eps) / np.sqrt(v + eps) * g
    average(state, "u", rho, step**2)
    return p - lr * step


def adam(p, g, state, t, lr, betas=(0.9, 0.999), eps=1e-8, bias_correction=False):
    m = average(state, "m", betas[0], g)
    v = average(state, "v", betas[1], g**2)
    if bias_correction:
        m, v = m / (1 - betas[0] ** t), v / (1 - betas[1] ** t)
    return p - lr * m / (np.sqrt(v) + eps)


def adamw(p, g, state, t, lr, weight_decay=0.01, **options):
    return adam((1 - lr * weight_decay) * p, g, state, t, lr, **options)


def adamax(p, g, state, t, lr, betas=(0.9, 0.999), eps=1e-8):
    m = average(state, "m", betas[0], g)
    state["v"] = np.maximum(betas[1] * state.get("v", 0.0), np.abs(g))
    return p - lr * m / (state["v"] + eps)


def lion(p, g, state, t, lr, betas=(0.9, 0.99), weight_decay=0.0):
    direction = np.sign(betas[0] * state.get("m", 0.0) + (1 - betas[0]) * g)
    average(state, "m", betas[1], g)
    return p - lr * (direction + weight_decay * p)


def newton_schulz(x, steps):
    """Moves the singular values of a matrix towards 1, by the quintic polynomial of Muon."""
    if x.shape[0] > x.shape[1]:
        return newton_schulz(x.T, steps).T
    x = x / (np.linalg.norm(x) + 1e-7)
    for _ in range(steps):
        square = x @ x.T
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return x


def muon(p, g, state, t, lr, momentum=0.95, weight_decay=0.01, nesterov=True, ns_steps=5):
    g = g + weight_decay * p
    v = average(state, "v", momentum, g)
    update = momentum * v + (1 - momentum) * g if nesterov else v
    if p.ndim >= 2:
        matrix = update.reshape(p.shape[0], -1)
        update = newton_schulz(matrix, ns_steps).reshape(p.shape)
        update = update * np.sqrt(max(1, matrix.shape[0] / matrix.shape[1]))
    return p - lr * update


def adafactor(
    p,
    g,
    state,
    t,
    lr=None,
    eps=(1e-30, 1e-3),
    clip_threshold=1.0,
    decay_rate=-0.8,
    beta_1=None,
    weight_decay=0.0,
    scale_parameter=True,
    relative_step=True,
    warmup_init=False,
):
    if relative_step:
        lr = min(1e-6 * t if warmup_init else 1e-2, 1 / np.sqrt(t))
    if scale_parameter:
        lr = lr * max(eps[1], rms(p))
    beta_2 = 1 - t**decay_rate
    square = g**2 + eps[0]
    if p.ndim >= 2:
        row = average(state, "exp_avg_sq_row", beta_2, square.mean(axis=-1))
        column = average(state, "exp_avg_sq_col", beta_2, square.mean(axis=-2))
        row = row / row.mean(axis=-1, keepdims=True)
        update = g / np.sqrt(row[..., :, None] * column[..., None, :])
    else:
        update = g / np.sqrt(average(state, "exp_avg_sq", beta_2, square))
    update = lr * update / max(1.0, rms(update) / clip_threshold)
    if beta_1 is not None:
        update = average(state, "exp_avg", beta_1, update)
    return (1 - weight_decay * lr) * p - update
