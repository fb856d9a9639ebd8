"""Calls of libraries that follow the array API standard, with arrays of narrows and of NumPy.

As a program, with SCIPY_ARRAY_API=1 set, it makes those of one library and prints what went wrong.
"""

import json
import sys
import warnings

import narrows.core as mx
import numpy as np

# scikit-learn refuses arrays of two devices, and there are no float64 arrays on a GPU.
mx.set_default_device(mx.cpu)

VALUES = np.array([1.0, 2.0, 3.0, 5.0], dtype=np.float32)
DATA = np.random.default_rng(0).normal(size=(60, 5)).astype(np.float32)
LABELS = (DATA[:, 0] + DATA[:, 1] > 0).astype(np.int64)
TARGETS = (DATA @ np.arange(1.0, 6.0) + DATA[:, 0]).astype(np.float32)


def compat_cases():
    import array_api_compat as compat
    import narrows.array_api as xp

    def facts(x):
        if isinstance(x, mx.array):
            assert compat.is_array_api_obj(x) and compat.array_namespace(x, x) is xp
            assert compat.device(x) == mx.cpu and compat.to_device(x, mx.cpu).device == mx.cpu
        return np.asarray(compat.size(x))

    yield "facts", facts


def scipy_cases():
    import scipy.special as special
    from scipy import fft, integrate, ndimage, signal, stats

    for name in "expit logit erf erfc gammaln entr i0 ndtr log_ndtr".split():
        function = getattr(special, name)
        yield f"special.{name}", lambda x, f=function: f(x / 6)
    yield "special.logsumexp", special.logsumexp
    yield "special.softmax", special.softmax
    yield "special.xlogy", lambda x: special.xlogy(x, x)
    for name in "zscore skew kurtosis moment gmean hmean variation sem tmean tvar entropy".split():
        yield f"stats.{name}", getattr(stats, name)
    yield "stats.ttest_ind", lambda x: stats.ttest_ind(x, x + 1).pvalue
    yield "stats.pearsonr", lambda x: stats.pearsonr(x, x**2).statistic
    yield "stats.rankdata", stats.rankdata
    yield "stats.quantile", lambda x: stats.quantile(x, 0.3)
    for name in "fft ifft rfft irfft dct fftshift".split():
        yield f"fft.{name}", getattr(fft, name)
    for name in "hilbert detrend".split():
        yield f"signal.{name}", getattr(signal, name)
    yield "signal.fftconvolve", lambda x: signal.fftconvolve(x, x)
    yield "integrate.trapezoid", integrate.trapezoid
    yield "ndimage.gaussian_filter", lambda x: ndimage.gaussian_filter(x, 1.0)


def sklearn_cases():
    from sklearn import metrics, preprocessing
    from sklearn.decomposition import PCA
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.linear_model import Ridge, RidgeClassifier
    from sklearn.metrics import pairwise
    from sklearn.mixture import GaussianMixture
    from sklearn.naive_bayes import GaussianNB

    def like(x, values):
        return mx.array(values) if isinstance(x, mx.array) else values

    def scaled(make):
        return lambda x: make().fit_transform(like(x, DATA))

    def predicted(make, targets):
        return lambda x: make().fit(like(x, DATA), like(x, targets)).predict(like(x, DATA))

    for name in "StandardScaler MinMaxScaler MaxAbsScaler Normalizer".split():
        yield f"preprocessing.{name}", scaled(getattr(preprocessing, name))
    yield (
        "PCA",
        lambda x: PCA(3, svd_solver="full").fit(like(x, DATA)).explained_variance_,
    )
    yield "Ridge", predicted(lambda: Ridge(solver="svd"), TARGETS)
    yield "RidgeClassifier", predicted(lambda: RidgeClassifier(solver="svd"), LABELS)
    yield "LinearDiscriminantAnalysis", predicted(LinearDiscriminantAnalysis, LABELS)
    yield "GaussianNB", predicted(GaussianNB, LABELS)
    yield (
        "GaussianMixture",
        predicted(lambda: GaussianMixture(2, init_params="random", random_state=0), LABELS),
    )
    guesses = (DATA[:, 0] > 0).astype(np.int64)
    for name in "accuracy_score f1_score confusion_matrix balanced_accuracy_score".split():
        function = getattr(metrics, name)
        yield name, lambda x, f=function: np.asarray(f(like(x, LABELS), like(x, guesses)))
    for name in "mean_squared_error r2_score mean_absolute_error".split():
        function = getattr(metrics, name)
        yield name, lambda x, f=function: np.asarray(f(like(x, TARGETS), like(x, DATA[:, 0])))
    for name in "rbf_kernel cosine_similarity euclidean_distances".split():
        function = getattr(pairwise, name)
        yield name, lambda x, f=function: f(like(x, DATA), like(x, DATA[:9]))


def run(library: str) -> dict[str, str]:
    """What went wrong in each call; empty where nothing did."""
    outcomes = {}
    for name, call in globals()[f"{library}_cases"]():
        try:
            expected = np.asarray(call(VALUES))
            if library == "sklearn":
                import sklearn

                with sklearn.config_context(array_api_dispatch=True):
                    found = call(mx.array(VALUES))
            else:
                found = call(mx.array(VALUES))
            assert isinstance(found, (mx.array, np.ndarray)), type(found)
            np.testing.assert_allclose(np.array(found), expected, rtol=2e-3, atol=1e-4)
            outcomes[name] = ""
        except Exception as error:
            outcomes[name] = f"{type(error).__name__}: {error}"
    return outcomes


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print(json.dumps(run(sys.argv[1])))
