"""Convolutions in NumPy, element of the filter by element: slow, and unlike the library's."""

import numpy as np


def setting(value, ndim):
    return (value,) * ndim if isinstance(value, int) else tuple(value)


class Convolution:
    """A convolution of inputs (n, sizes..., c) with filters (o, kernel..., c / groups)."""

    def __init__(self, x_shape, w_shape, **settings):
        ndim = len(x_shape) - 2
        padding = settings.get("padding", 0)
        pair = isinstance(padding, tuple) and not isinstance(padding[0], int)
        low, high = padding if pair else (padding, padding)
        self.x_shape, self.w_shape = x_shape, w_shape
        self.stride = setting(settings.get("stride", 1), ndim)
        self.low, self.high = setting(low, ndim), setting(high, ndim)
        self.dilation = setting(settings.get("kernel_dilation", 1), ndim)
        self.input_dilation = setting(settings.get("input_dilation", 1), ndim)
        self.groups = settings.get("groups", 1)
        self.flip = settings.get("flip", False)
        reach = [(k - 1) * d + 1 for k, d in zip(w_shape[1:-1], self.dilation)]
        self.padded = tuple(
            (n - 1) * e + 1 + a + b
            for n, e, a, b in zip(x_shape[1:-1], self.input_dilation, self.low, self.high)
        )
        self.places = tuple((n - r) // s + 1 for n, r, s in zip(self.padded, reach, self.stride))

    def spread(self, x):
        """The input with its gaps and its padding."""
        n, c = x.shape[0], x.shape[-1]
        result = np.zeros((n, *self.padded, c), x.dtype)
        for index in np.ndindex(*x.shape[1:-1]):
            at = [i * e + p for i, e, p in zip(index, self.input_dilation, self.low)]
            if all(0 <= i < size for i, size in zip(at, self.padded)):
                result[(slice(None), *at)] = x[(slice(None), *index)]
        return result

    def gathered(self, spread):
        """What of that belongs to the input."""
        result = np.zeros((spread.shape[0], *self.x_shape[1:-1], spread.shape[-1]), spread.dtype)
        for index in np.ndindex(*self.x_shape[1:-1]):
            at = [i * e + p for i, e, p in zip(index, self.input_dilation, self.low)]
            if all(0 <= i < size for i, size in zip(at, self.padded)):
                result[(slice(None), *index)] = spread[(slice(None), *at)]
        return result

    def parts(self):
        """For each element of the filter and each group: where it lies in the filters, which part
        of the padded input it sees, and which channels it adds to."""
        outputs, inputs = self.w_shape[0] // self.groups, self.w_shape[-1]
        for index in np.ndindex(*self.w_shape[1:-1]):
            begin = [k * d for k, d in zip(index, self.dilation)]
            window = tuple(
                slice(b, b + (p - 1) * s + 1, s) for b, p, s in zip(begin, self.places, self.stride)
            )
            if self.flip:
                index = tuple(n - 1 - k for n, k in zip(self.w_shape[1:-1], index))
            for group in range(self.groups):
                o = slice(group * outputs, (group + 1) * outputs)
                c = slice(group * inputs, (group + 1) * inputs)
                yield (o, *index), (slice(None), *window, c), (..., o)

    def output(self, x, w):
        padded = self.spread(x)
        result = np.zeros((x.shape[0], *self.places, w.shape[0]), x.dtype)
        for filters, window, channels in self.parts():
            result[channels] += padded[window] @ w[filters].T
        return result

    def input_gradient(self, g, w):
        padded = np.zeros((g.shape[0], *self.padded, self.x_shape[-1]), g.dtype)
        for filters, window, channels in self.parts():
            padded[window] += g[channels] @ w[filters]
        return self.gathered(padded)

    def weight_gradient(self, x, g):
        padded = self.spread(x)
        result = np.zeros(self.w_shape, x.dtype)
        for filters, window, channels in self.parts():
            result[filters] += np.tensordot(g[channels], padded[window], [range(g.ndim - 1)] * 2)
        return result
