import narrows.core as mx
import numpy as np
import pytest

KEY = mx.random.key(7)
COUNT = 20_000


def test_keys():
    assert mx.random.key(0).tolist() == [0, 0] and mx.random.key(0).dtype == mx.uint32
    assert mx.random.key(2**32 + 5).tolist() == [1, 5]
    expected = [[4146024105, 967050713], [2718843009, 1272950319]]
    assert mx.random.split(mx.random.key(0)).tolist() == expected
    assert mx.random.split(KEY, 5).shape == (5, 2)


def test_seed_repeats():
    mx.random.seed(3)
    assert mx.random.state[0].tolist() == [0, 3] and len(mx.random.state) == 1
    first = [mx.random.uniform(shape=(3,)).tolist() for _ in range(2)]
    mx.random.seed(3)
    second = [mx.random.uniform(shape=(3,)).tolist() for _ in range(2)]
    assert first == second and first[0] != first[1]
    saved = list(mx.random.state)
    third = mx.random.normal((4,)).tolist()
    mx.random.state[0] = saved[0]
    assert mx.random.normal((4,)).tolist() == third
    mx.eval(mx.random.state)


def test_same_key_same_numbers():
    a = mx.random.normal((100,), key=KEY)
    assert a.tolist() == mx.random.normal((100,), key=KEY).tolist()
    assert a.tolist() != mx.random.normal((100,), key=mx.random.key(8)).tolist()


@pytest.mark.parametrize(
    "make, mean, deviation",
    [
        (lambda: mx.random.uniform(shape=(COUNT,), key=KEY), 0.5, 12**-0.5),
        (lambda: mx.random.uniform(-1, 3, (COUNT,), key=KEY), 1.0, 4 * 12**-0.5),
        (lambda: mx.random.normal((COUNT,), key=KEY), 0.0, 1.0),
        (lambda: mx.random.normal((COUNT,), loc=2, scale=3, key=KEY), 2.0, 3.0),
        (lambda: mx.random.gumbel((COUNT,), key=KEY), 0.5772, np.pi / 6**0.5),
        (lambda: mx.random.laplace((COUNT,), key=KEY, loc=1, scale=2), 1.0, 2 * 2**0.5),
        (lambda: mx.random.bernoulli(0.25, (COUNT,), key=KEY).astype(mx.float32), 0.25, 0.433),
        (lambda: mx.random.truncated_normal(-1, 1, (COUNT,), key=KEY), 0.0, 0.5396),
        (lambda: mx.random.randint(0, 10, (COUNT,), key=KEY).astype(mx.float32), 4.5, 2.872),
    ],
)
def test_moments(make, mean, deviation):
    x = np.array(make())
    assert abs(x.mean() - mean) < 5 * deviation / COUNT**0.5
    assert abs(x.std() - deviation) < 0.03 * deviation


def test_ranges():
    x = np.array(mx.random.randint(-3, 4, (1000,), key=KEY))
    assert set(x.tolist()) == set(range(-3, 4))
    u = np.array(mx.random.uniform(shape=(COUNT,), key=KEY))
    assert u.min() >= 0 and u.max() < 1
    t = np.array(mx.random.truncated_normal(0.5, 1, (1000,), key=KEY))
    assert t.min() >= 0.5 and t.max() <= 1
    for dtype in [mx.float16, mx.bfloat16, mx.float32]:
        assert mx.random.normal((4,), dtype, key=KEY).dtype == dtype


def test_categorical():
    logits = mx.log(mx.array([[0.1, 0.2, 0.7], [0.5, 0.5, 0.0]]) + 1e-30)
    samples = mx.random.categorical(logits, num_samples=COUNT, key=KEY)
    assert samples.shape == (2, COUNT) and samples.dtype == mx.uint32
    shares = [np.bincount(row, minlength=3) / COUNT for row in np.array(samples)]
    np.testing.assert_allclose(shares, [[0.1, 0.2, 0.7], [0.5, 0.5, 0.0]], atol=0.02)
    assert mx.random.categorical(logits, key=KEY).shape == (2,)
    assert mx.random.categorical(logits, shape=(5, 2), key=KEY).shape == (5, 2)
    with pytest.raises(ValueError):
        mx.random.categorical(logits, shape=(2,), num_samples=2)
