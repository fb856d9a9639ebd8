import narrows.core as mx
import numpy as np
import pytest
from support import name_of

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


INF = float("inf")
DRAWS = 1 << 18
RANGES = [
    (0, 1),
    (1, 2),
    (1000, 1001),
    (-1, 1),
    (-2, -1),
    (-1001, -1000),
    (-1, 0),
    (1e-3, 1.001e-3),
]
RANGES += [
    (-1, 1.1 * 2**-25),
    (0, 2**-140),
    (2**-24, 2**-23),
    (0, 6e4),
    (2, 1),
    (0, -1),
    (1001, 1000),
]
FLOATS = [mx.float16, mx.bfloat16, mx.float32, mx.float64]


@pytest.mark.parametrize("dtype", FLOATS, ids=name_of)
@pytest.mark.parametrize("low, high", RANGES)
def test_uniform_never_returns_the_upper_bound(low, high, dtype):
    x = mx.random.uniform(low, high, (DRAWS,), dtype, key=KEY)
    bounds = mx.array([low, high], dtype=dtype)
    first, end = bounds.tolist()
    if first < end:
        assert mx.min(x).item() >= first and mx.max(x).item() < end
    elif first > end:
        assert mx.max(x).item() <= first and mx.min(x).item() > end
    else:
        assert mx.all(x == first).item()
    # Bounds in arrays give the same numbers.
    assert mx.array_equal(x, mx.random.uniform(*bounds, (DRAWS,), dtype, key=KEY)).item()


@pytest.mark.parametrize("dtype, steps", [(mx.bfloat16, 128), (mx.float16, 1024)])
@pytest.mark.parametrize("low, high", [(1, 2), (-2, -1), (2, 1)])
def test_the_lower_bound_is_as_likely_as_other_numbers(low, high, dtype, steps):
    x = mx.random.uniform(low, high, (DRAWS,), dtype, key=KEY).astype(mx.float32)
    counts = np.bincount(np.array(mx.abs(x - low) * steps).astype(np.int64), minlength=steps)
    assert len(counts) == steps and counts[1:].min() < counts[0] < counts[1:].max()


@pytest.mark.parametrize("dtype", FLOATS, ids=name_of)
def test_uniform_between_bounds_far_apart(dtype):
    """Their distance is more than the dtype holds."""
    most = mx.finfo(dtype).max
    for low, high in [(-most, most), (most, -most), (-most, most / 2)]:
        bounds = mx.array([low, high], dtype=mx.float64)
        for pair in [(low, high), tuple(bounds)]:
            x = mx.random.uniform(*pair, (COUNT,), dtype, key=KEY).astype(mx.float64)
            assert mx.all(mx.isfinite(x)).item()
            scaled = np.array(x, dtype=np.float64) / float(most)
            middle, width = (low / most + high / most) / 2, abs(high / most - low / most)
            assert abs(scaled.mean() - middle) < 0.02 and abs(scaled.std() - width / 12**0.5) < 0.02


def test_uniform_of_infinite_bounds():
    for low, high in [(0, INF), (mx.array(0.0), mx.array(INF))]:
        assert mx.random.uniform(low, high, (3,), key=KEY).tolist() == [INF] * 3
    assert mx.all(mx.isnan(mx.random.uniform(INF, INF, (3,), key=KEY))).item()
    assert mx.all(mx.isnan(mx.random.uniform(float("nan"), 1, (3,), key=KEY))).item()


def test_uniform_has_derivatives_by_its_bounds():
    low, high = mx.array([1.0, 2.0]), mx.array([3.0, 4.0])

    def total(low, high):
        return mx.sum(mx.random.uniform(low, high, (2,), key=KEY))

    by_low, by_high = mx.grad(total, argnums=(0, 1))(low, high)
    unit = mx.random.uniform(shape=(2,), key=KEY)
    np.testing.assert_allclose(np.array(by_high), np.array(unit), rtol=1e-6)
    np.testing.assert_allclose(np.array(by_low), 1 - np.array(unit), rtol=1e-6)


FINITE = {
    "normal": lambda dtype, key: mx.random.normal((DRAWS,), dtype, key=key),
    "gumbel": lambda dtype, key: mx.random.gumbel((DRAWS,), dtype, key=key),
    "laplace": lambda dtype, key: mx.random.laplace((DRAWS,), dtype, key=key),
    "truncated_normal": lambda dtype, key: mx.random.truncated_normal(
        -INF, INF, (DRAWS,), dtype, key=key
    ),
    "truncated_normal above": lambda dtype, key: mx.random.truncated_normal(
        0, INF, (DRAWS,), dtype, key=key
    ),
}


@pytest.mark.parametrize("dtype", FLOATS, ids=name_of)
@pytest.mark.parametrize("name", FINITE)
def test_no_number_is_infinite(name, dtype):
    for seed in (7, 542):  # 542: bits that float16 rounds to zero
        x = FINITE[name](dtype, mx.random.key(seed))
        assert x.dtype == dtype and mx.all(mx.isfinite(x)).item()


@pytest.mark.parametrize("dtype", FLOATS, ids=name_of)
@pytest.mark.parametrize("low, high", [(-1, 1), (0.5, 1), (5, 7), (-9, -6), (3, 3), (2, INF)])
def test_truncated_normal_stays_within_its_bounds(low, high, dtype):
    x = mx.random.truncated_normal(low, high, (DRAWS,), dtype, key=KEY)
    assert mx.all((x >= low) & (x <= high)).item()


@pytest.mark.parametrize("dtype", FLOATS, ids=name_of)
def test_certain_and_impossible_events(dtype):
    for p, expected in [(0.0, False), (1.0, True), (1.5, True), (-0.5, False)]:
        x = mx.random.bernoulli(mx.array(p, dtype=dtype), (DRAWS,), key=KEY)
        assert mx.all(x == expected).item()
    logits = mx.array([0, -INF, 0], dtype=dtype)
    assert not mx.any(mx.random.categorical(logits, num_samples=DRAWS, key=KEY) == 1).item()
    for impossible in [0, 199]:
        logits = mx.where(mx.arange(200) == impossible, -INF, 0).astype(dtype)
        drawn = mx.random.categorical(logits, num_samples=DRAWS, key=KEY)
        assert not mx.any(drawn == impossible).item()
        assert mx.all(drawn < 200).item()


# What MLX 0.32.4 gives for key 3, bit for bit.
THREE = mx.random.key(3)
TABLE = {
    "uniform": (
        lambda: mx.random.uniform(shape=(4,), key=THREE),
        [0.23853768408298492, 0.011119451373815536, 0.6062433123588562, 0.3348017930984497],
    ),
    "uniform float16": (
        lambda: mx.random.uniform(shape=(4,), key=THREE, dtype=mx.float16),
        [0.238525390625, 0.01111602783203125, 0.6064453125, 0.334716796875],
    ),
    "uniform bfloat16": (
        lambda: mx.random.uniform(shape=(4,), key=THREE, dtype=mx.bfloat16),
        [0.23828125, 0.0111083984375, 0.60546875, 0.333984375],
    ),
    "uniform of a range": (
        lambda: mx.random.uniform(-3, 5, (4,), key=THREE),
        [-1.0916985273361206, -2.9110443592071533, 1.8499464988708496, -0.32158565521240234],
    ),
    "uniform downwards": (
        lambda: mx.random.uniform(5, 1, (4,), key=THREE),
        [4.045849323272705, 4.955522060394287, 2.575026750564575, 3.660792827606201],
    ),
    "uniform of a range in bfloat16": (
        lambda: mx.random.uniform(1, 2, (4,), key=THREE, dtype=mx.bfloat16),
        [1.234375, 1.0078125, 1.609375, 1.3359375],
    ),
    "uniform of a range in float16": (
        lambda: mx.random.uniform(-3, 5, (4,), key=THREE, dtype=mx.float16),
        [-1.091796875, -2.91015625, 1.8515625, -0.322265625],
    ),
    "uniform huge": (
        lambda: mx.random.uniform(0, 1e38, (4,), key=THREE),
        [2.385376671027706e37, 1.111945077002196e36, 6.062433020001328e37, 3.3480178603350213e37],
    ),
    "uniform tiny": (
        lambda: mx.random.uniform(0, 1e-30, (4,), key=THREE),
        [2.3853768484824004e-31, 1.1119451425701176e-32]
        + [6.0624329690268825e-31, 3.3480178544329317e-31],
    ),
    "randint": (
        lambda: mx.random.randint(0, 10, (8,), key=THREE),
        [3, 8, 8, 4, 0, 0, 8, 3],
    ),
    "randint int64": (
        lambda: mx.random.randint(-500, 500, (8,), mx.int64, key=THREE),
        [-183, 355, 316, -14, -413, -453, 357, -125],
    ),
    "randint uint8": (
        lambda: mx.random.randint(0, 256, (8,), mx.uint8, key=THREE),
        [81, 218, 209, 124, 22, 12, 219, 96],
    ),
    "randint uint16": (
        lambda: mx.random.randint(0, 1 << 16, (8,), mx.uint16, key=THREE),
        [20799, 56045, 53505, 31904, 5756, 3088, 56226, 24627],
    ),
    "randint arrays": (
        lambda: mx.random.randint(mx.array([0, 10]), mx.array([[5], [20]]), (2, 2), key=THREE),
        [[1, 10], [12, 13]],
    ),
    "randint bool": (
        lambda: mx.random.randint(0, 2, (8,), mx.bool_, key=THREE),
        [False, True, True, False, False, False, True, False],
    ),
    "bernoulli": (
        lambda: mx.random.bernoulli(0.3, (8,), key=THREE),
        [False, False, False, False, True, True, False, False],
    ),
    "categorical": (
        lambda: mx.random.categorical(mx.array([[0.0, 1, 2], [2, 1, 0]]), num_samples=8, key=THREE),
        [[2, 1, 2, 2, 2, 1, 1, 2], [2, 0, 0, 0, 0, 2, 1, 0]],
    ),
    "categorical along an axis": (
        lambda: mx.random.categorical(mx.zeros((3, 4)), axis=0, num_samples=2, key=THREE),
        [[0, 0], [1, 0], [1, 0], [2, 2]],
    ),
    "categorical of one row": (
        lambda: mx.random.categorical(mx.arange(5.0) / 4, num_samples=8, key=THREE),
        [2, 4, 4, 3, 0, 0, 4, 2],
    ),
    "categorical of one row in bfloat16": (
        lambda: mx.random.categorical(
            mx.arange(300).astype(mx.bfloat16)[:, None] / 100, 0, num_samples=4, key=THREE
        ),
        [[171, 19, 253, 200]],
    ),
    "categorical of one row without samples": (
        lambda: mx.random.categorical(mx.arange(300.0)[None] / 100, key=THREE),
        [286],
    ),
    "categorical of one row of a shape": (
        lambda: mx.random.categorical(mx.arange(300.0)[None] / 100, shape=(2, 3), key=THREE),
        [[158, 210, 226], [279, 260, 281]],
    ),
    "categorical of a vector": (
        lambda: mx.random.categorical(mx.arange(300.0) / 100, key=THREE),
        289,
    ),
    "categorical of a shape": (
        lambda: mx.random.categorical(mx.zeros((3, 4)), shape=(2, 3), key=THREE),
        [[1, 1, 2], [0, 1, 2]],
    ),
}
# These go through functions of their own, which may differ in the last digit.
NEARLY = {
    "normal": (
        lambda: mx.random.normal((4,), key=THREE),
        [-0.7110142111778259, -2.286261558532715, 0.2695411145687103, -0.42669206857681274],
    ),
    "normal complex": (
        lambda: mx.random.normal((2,), mx.complex64, key=THREE),
        [-0.5027629733085632 - 1.616631031036377j, 0.1905943602323532 - 0.3017168641090393j],
    ),
    "truncated_normal": (
        lambda: mx.random.truncated_normal(-1.0, 1.0, (4,), key=THREE),
        [-0.46350157260894775, -0.9691048860549927, 0.1828220933675766, -0.28656962513923645],
    ),
    "gumbel": (
        lambda: mx.random.gumbel((4,), key=THREE),
        [-0.35992926359176636, -1.5038683414459229, 0.6921998858451843, -0.09003865718841553],
    ),
    "laplace": (
        lambda: mx.random.laplace((4,), key=THREE),
        [0.7400805950164795, 3.8059091567993164, -0.23887500166893005, 0.401069313287735],
    ),
}


def test_permutations():
    """As MLX 0.32.4 gives them."""
    expected = [8, 7, 1, 10, 2, 11, 9, 3, 4, 0, 6, 5]
    order = mx.random.permutation(12, key=KEY)
    assert order.tolist() == expected and order.dtype == mx.uint32
    x = mx.arange(12).reshape(3, 4)
    rows = mx.random.permutation(x, key=KEY)
    assert rows.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    columns = mx.random.permutation(x, axis=-1, key=KEY)
    assert columns.tolist() == [[0, 1, 3, 2], [4, 5, 7, 6], [8, 9, 11, 10]]
    assert columns.dtype == mx.int32
    many = mx.random.permutation(100_000, key=KEY)
    some = [45823, 21535, 2974, 11930, 73294, 58175, 15781, 86129, 21771, 6987, 84276]
    assert many[::9973].tolist() == some
    assert mx.sort(many).tolist() == list(range(100_000))
    assert mx.random.permutation(0).shape == (0,)
    assert mx.random.permutation(mx.zeros((2, 0)), axis=1).shape == (2, 0)
    mx.random.seed(1)
    assert mx.random.permutation(50).tolist() != mx.random.permutation(50).tolist()


@pytest.mark.parametrize(
    "x, axis, error",
    [(-1, 0, ValueError), (2.5, 0, TypeError), ([1, 2], 0, TypeError)]
    + [(mx.array(3), 0, IndexError), (mx.zeros(3), 1, IndexError)],
)
def test_errors_of_permutations(x, axis, error):
    with pytest.raises(error, match=r"\[permutation\]"):
        mx.random.permutation(x, axis, key=KEY)


@pytest.mark.parametrize("name", TABLE)
def test_recorded_values(name):
    make, expected = TABLE[name]
    assert make().tolist() == expected


@pytest.mark.parametrize("name", NEARLY)
def test_recorded_values_of_functions(name):
    make, expected = NEARLY[name]
    np.testing.assert_allclose(np.array(make()), expected, rtol=3e-6)


COV = [[2.0, 0.5], [0.5, 1.0]]


def test_multivariate_normal():
    mean, cov = mx.array([0.0, 1.0]), mx.array(COV)
    draw = mx.random.multivariate_normal
    recorded = [[-0.00736031, -0.215078], [1.17103, 2.35775], [0.317169, 0.936624]]  # of MLX
    np.testing.assert_allclose(draw(mean, cov, (3,), key=mx.random.key(0)), recorded, atol=5e-6)
    x = np.array(draw(mean, cov, (COUNT,), key=KEY), dtype=np.float64)
    assert np.abs(x.mean(axis=0) - [0, 1]).max() < 5 * (2 / COUNT) ** 0.5
    assert np.abs(np.cov(x.T) - COV).max() < 0.06
    # A batch of covariances, and one that is singular.
    stack = mx.array([COV, [[1.0, 1.0], [1.0, 1.0]]])
    y = np.array(draw(mx.zeros((2,)), stack, (COUNT, 2), key=KEY), dtype=np.float64)
    for i in range(2):
        assert np.abs(np.cov(y[:, i].T) - np.array(stack[i])).max() < 0.06
    # The square root of what rounding leaves of an eigenvalue of 0 is that large.
    np.testing.assert_allclose(y[:, 1, 0], y[:, 1, 1], atol=5 * np.finfo(np.float32).eps ** 0.5)


@pytest.mark.parametrize(
    "mean, cov, shape, expected",
    [
        ((2,), (2, 2), (), (2,)),
        ((2,), (2, 2), (4, 3), (4, 3, 2)),
        ((5, 2), (2, 2), (), (5, 2)),
        ((5, 2), (2, 2), (3, 5), (3, 5, 2)),
        ((5, 2), (2, 2), (1,), (5, 2)),
        ((2,), (3, 2, 2), (), (3, 2)),
        ((4, 1, 2), (3, 2, 2), (), (4, 3, 2)),
        ((0,), (0, 0), (3,), (3, 0)),
        ((2,), (2, 2), (0,), (0, 2)),
    ],
)
def test_shapes_of_multivariate_normal(mean, cov, shape, expected):
    parameters = mx.zeros(mean), mx.broadcast_to(mx.eye(cov[-1]), cov)
    x = mx.random.multivariate_normal(*parameters, shape, key=KEY)
    assert x.shape == expected and x.dtype == mx.float32
    assert np.isfinite(np.array(x)).all()
    integers = [p.astype(mx.int32) for p in parameters]
    assert mx.array_equal(mx.random.multivariate_normal(*integers, shape, None, KEY), x)


@pytest.mark.parametrize(
    "mean, cov, options",
    [
        ((), (2, 2), {}),
        ((2,), (2,), {}),
        ((2,), (2, 3), {}),
        ((2,), (3, 3), {}),
        ((4, 2), (2, 2), {"shape": (3,)}),
        ((2,), (2, 2), {"shape": (-1,)}),
        ((2,), (2, 2), {"dtype": mx.float16}),
        ((2,), (2, 2), {"key": mx.array([1])}),
    ],
)
def test_errors_of_multivariate_normal(mean, cov, options):
    with pytest.raises(ValueError):
        mx.random.multivariate_normal(mx.zeros(mean), mx.zeros(cov), **options)


def test_multivariate_normal_of_complex_parameters():
    with pytest.raises(ValueError, match="real"):
        mx.random.multivariate_normal(mx.zeros((2,), mx.complex64), mx.eye(2))


def test_multivariate_normal_has_derivatives():
    def total(mean, cov):
        return mx.random.multivariate_normal(mean, cov, (3,), key=KEY).sum()

    mean, cov, change = mx.zeros((2,)), mx.array(COV), mx.array([[1.0, 0.25], [0.25, -0.5]])
    of_mean, of_cov = mx.grad(total, argnums=(0, 1))(mean, cov)
    assert of_mean.tolist() == [3, 3]
    h = 1e-2
    expected = (total(mean, cov + h * change) - total(mean, cov - h * change)).item() / (2 * h)
    assert (of_cov * change).sum().item() == pytest.approx(expected, rel=1e-2)
