import re

import narrows.core as mx
import numpy as np
import pytest


def signal(shape, kind=np.float32, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=shape)
    return (x + 1j * rng.normal(size=shape) if kind == np.complex64 else x).astype(kind)


def expected_stft(x, n_fft, hop=None, window=None, center=True, mode="reflect", onesided=True):
    hop = hop or n_fft // 4
    window = np.ones(n_fft) if window is None else window
    before = (n_fft - len(window)) // 2
    window = np.pad(window, (before, n_fft - len(window) - before))
    if center:
        x = np.pad(x, [(0, 0)] * (x.ndim - 1) + [(n_fft // 2, n_fft // 2)], mode)
    starts = range(0, x.shape[-1] - n_fft + 1, hop)
    frames = np.stack([x[..., i : i + n_fft] * window for i in starts], -2)
    spectra = np.fft.rfft(frames.real) if onesided else np.fft.fft(frames)
    return np.swapaxes(spectra, -1, -2)


CALLS = [
    {"n_fft": 16},
    {"n_fft": 15, "hop": 4},
    {"n_fft": 16, "hop": 5, "window": np.hanning(10)},
    {"n_fft": 12, "hop": 20, "center": False},
    {"n_fft": 8, "mode": "constant"},
    {"n_fft": 8, "mode": "edge", "onesided": False},
]


@pytest.mark.parametrize("call", CALLS, ids=lambda call: str(list(call)))
@pytest.mark.parametrize("shape", [(100,), (3, 57), (2, 1, 40)], ids=str)
@pytest.mark.parametrize("kind", [np.float32, np.complex64])
def test_stft(kind, shape, call):
    x = signal(shape, kind)
    call = {"onesided": kind == np.float32, **call}
    expected = expected_stft(x.astype(np.complex128), **call)
    window = call.get("window")
    actual = mx.fft.stft(
        mx.array(x),
        call["n_fft"],
        call.get("hop"),
        window=None if window is None else mx.array(window.astype(np.float32)),
        center=call.get("center", True),
        pad_mode=call.get("mode", "reflect"),
        onesided=call["onesided"],
    )
    assert actual.dtype == mx.complex64
    np.testing.assert_allclose(np.array(actual), expected, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("norm", ["backward", "ortho", "forward"])
@pytest.mark.parametrize("onesided", [True, False])
@pytest.mark.parametrize("n_fft, window", [(16, None), (16, 12), (15, 15)])
def test_istft_is_the_way_back(n_fft, window, onesided, norm):
    x = mx.array(signal((2, 100)))
    # Windows without zeros at their ends.
    shape = None if window is None else mx.hanning(window + 2)[1:-1]
    options = {"hop_length": 4, "window": shape, "norm": norm, "onesided": onesided}
    spectra = mx.fft.stft(x, n_fft, **options)
    back = mx.fft.istft(spectra, n_fft, length=100, **options)
    np.testing.assert_allclose(np.array(back), np.array(x), rtol=1e-4, atol=1e-5)
    whole = mx.fft.stft(x, n_fft, center=False, **options)
    back = mx.fft.istft(whole, n_fft, center=False, **options)
    inside = slice(n_fft, back.shape[1] - n_fft)
    np.testing.assert_allclose(np.array(back)[:, inside], np.array(x)[:, inside], atol=1e-5)


def test_lengths_of_signals():
    spectra = mx.fft.stft(mx.array(signal((100,))), n_fft=16)
    assert mx.fft.istft(spectra).shape == (100,)
    assert mx.fft.istft(spectra, length=30).shape == (30,)
    longer = np.array(mx.fft.istft(spectra, length=130))
    assert longer.shape == (130,) and not longer[116:].any()
    assert mx.fft.istft(spectra, length=0).shape == (0,)
    assert mx.fft.istft(spectra, center=False).shape == (116,)
    # What no window has seen is zero.
    window = mx.array([0.0, 1.0, 1.0, 0.0])
    apart = mx.fft.stft(mx.ones((20,)), 4, 4, window=window, center=False)
    back = mx.fft.istft(apart, 4, 4, window=window, center=False)
    np.testing.assert_allclose(back, [0, 1, 1, 0] * 5, atol=1e-6)


X = mx.ones((100,))
S = mx.ones((9, 26), mx.complex64)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: mx.fft.stft(X, 0), "[stft] n_fft 0"),
        (lambda: mx.fft.stft(X, 16, 0), "[stft] hop_length 0"),
        (lambda: mx.fft.stft(X, 16, win_length=17), "[stft] a window of shape (17,)"),
        (lambda: mx.fft.stft(X, 16, window=mx.ones((2, 8))), "[stft] a window of shape (2, 8)"),
        (lambda: mx.fft.stft(X, 16, win_length=5, window=mx.ones(6)), "win_length 5"),
        (lambda: mx.fft.stft(X, 16, pad_mode="wrap"), "[stft] pad_mode 'wrap'"),
        (lambda: mx.fft.stft(X[:8], 16, center=False), "[stft] 8 samples"),
        (lambda: mx.fft.stft(mx.array(1.0), 16), "[stft] a scalar"),
        (lambda: mx.fft.stft(X, 16, norm="none"), "[stft] norm 'none'"),
        (lambda: mx.fft.istft(X), "[istft] an array of shape (100,)"),
        (lambda: mx.fft.istft(S, 20), "[istft] 9 frequencies"),
        (lambda: mx.fft.istft(S, length=-1), "[istft] length -1"),
        (lambda: mx.fft.istft(S, hop_length=-1), "[istft] hop_length -1"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call()
