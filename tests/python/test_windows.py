"""Window functions against NumPy."""

import narrows.core as mx
import numpy as np
import pytest


@pytest.mark.parametrize("name", ["bartlett", "blackman", "hamming", "hanning"])
def test_windows(name):
    for m in [-3, 0, 1, 2, 3, 4, 5, 64, 1001]:
        result = np.array(getattr(mx, name)(m))
        assert result.dtype == np.float32
        np.testing.assert_allclose(result, getattr(np, name)(m), rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(result, result[::-1])
    with pytest.raises(TypeError):
        getattr(mx, name)(2.5)
