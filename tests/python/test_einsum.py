"""einsum() against NumPy's."""

import narrows.core as mx
import numpy as np
import pytest
from support import NUMPY, from_numpy, name_of, to_numpy

CASES = [
    ("i->i", (3,)),
    ("i->", (3,)),
    ("ij->ji", (2, 3)),
    ("ba", (2, 3)),
    ("ij->i", (2, 3)),
    ("ii", (3, 3)),
    ("ii->i", (3, 3)),
    ("iji->j", (3, 2, 3)),
    ("iii->i", (3, 3, 3)),
    ("iijj->ij", (3, 3, 2, 2)),
    ("...ii->...i", (2, 4, 3, 3)),
    ("...->...", (2, 3)),
    ("i...->...", (2, 3, 4)),
    ("->", ()),
    ("", ()),
    ("i,i", (3,), (3,)),
    ("i,j->ij", (3,), (2,)),
    ("i,j->", (3,), (2,)),
    ("i,i->i", (3,), (3,)),
    ("ij,jk", (2, 3), (3, 4)),
    ("ij,jk->ik", (2, 3), (3, 4)),
    ("ij,jk->ki", (2, 3), (3, 4)),
    ("ij,kj->ik", (2, 3), (4, 3)),
    ("ij,ij->ij", (2, 3), (2, 3)),
    ("ij,ij->", (2, 3), (2, 3)),
    ("bij,bjk->bik", (5, 2, 3), (5, 3, 4)),
    ("bij,jk->bik", (5, 2, 3), (3, 4)),
    ("bhqd,bhkd->bhqk", (2, 3, 4, 5), (2, 3, 6, 5)),
    ("bqhd,bkhd->bhqk", (2, 4, 3, 5), (2, 6, 3, 5)),
    ("...ij,...jk->...ik", (2, 5, 2, 3), (5, 3, 4)),
    ("...ij,...jk", (5, 2, 3), (3, 4)),
    ("i...,i...", (3, 2), (3, 4, 1)),
    ("ij,jk,kl->il", (2, 3), (3, 4), (4, 5)),
    ("ij,jk,kl", (2, 3), (3, 4), (4, 5)),
    ("i,ij,j->", (2,), (2, 3), (3,)),
    ("i,i,i->i", (3,), (3,), (3,)),
    ("abc,cd,def,fg->abeg", (2, 3, 4), (4, 5), (5, 2, 3), (3, 2)),
    ("ij,j->i", (2, 3), (1,)),
    ("ij,ij->i", (2, 3), (2, 1)),
    ("ij,k->i", (2, 3), (4,)),
    ("ii,i->i", (3, 3), (3,)),
    ("IJ,Ja->Ia", (2, 3), (3, 4)),
    (" i j , j k -> i k ", (2, 3), (3, 4)),
    ("ij,jk->ik", (0, 3), (3, 4)),
    ("ij,jk->ik", (2, 0), (0, 4)),
]


@pytest.mark.parametrize("dtype", [mx.float32, mx.int32, mx.complex64, mx.float64], ids=name_of)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_against_numpy(case, dtype):
    subscripts, *shapes = case
    rng = np.random.default_rng(0)
    arrays = [rng.integers(-4, 5, shape).astype(NUMPY[dtype]) for shape in shapes]
    if dtype == mx.complex64:
        arrays = [a * (1 + 2j) for a in arrays]
    expected = np.einsum(subscripts, *arrays)
    found = mx.einsum(subscripts, *[from_numpy(a, dtype) for a in arrays])
    assert found.dtype == dtype and found.shape == expected.shape
    np.testing.assert_allclose(to_numpy(found), expected, rtol=1e-5, atol=1e-4)


WRONG = [
    ("ij,jk->ik", [(2, 3)], "2 operands, but 1 arrays"),
    ("ij,kj->ik", [(2, 3), (4, 2)], r"dimension 1 of an array of shape \(4, 2\), expected size 3"),
    ("ijk", [(2, 3)], r"'ijk' for an array of shape \(2, 3\)"),
    ("i", [(2, 3)], r"'i' for an array of shape \(2, 3\)"),
    ("ij->ii", [(2, 3)], "letters on the right"),
    ("ij->ik", [(2, 3)], "letters on the right"),
    ("ij->i-", [(2, 3)], "'-'"),
    ("i.j", [(2, 3)], "'i.j'|'[.]'"),
    ("...i...", [(2, 3)], "comes twice|array of shape"),
    ("...ijk", [(2, 3)], "array of shape"),
    ("i1", [(2, 3)], "'1'"),
]


@pytest.mark.parametrize("subscripts, shapes, message", WRONG)
def test_wrong_subscripts(subscripts, shapes, message):
    with pytest.raises(ValueError, match=rf"\[einsum\] subscripts .*({message})"):
        mx.einsum(subscripts, *[mx.ones(shape) for shape in shapes])


def test_no_operands():
    with pytest.raises(ValueError, match="1 operands, but 0 arrays"):
        mx.einsum("ij")


def test_path_is_ordered_by_cost():
    shapes = {"a": (1000, 2), "b": (2, 1000), "c": (1000, 2)}
    arrays = [mx.ones(shape) for shape in shapes.values()]
    steps, text = mx.einsum_path("ij,jk,kl->il", *arrays)
    assert steps == [(1, 2), (0, 1)]
    # b c, then a (b c): 2 * (2 * 1000 * 2) + 2 * (1000 * 2 * 2); at once it would be 3 * 4,000,000.
    assert "Optimized FLOP count:  16000\n" in text and "Naive FLOP count:  12000000\n" in text
    assert mx.einsum_path("ij,jk", *arrays[:2])[0] == [(0, 1)]
    assert mx.einsum_path("ij->", arrays[0])[0] == [(0,)]
    # The plan follows it: nothing of 1000 x 1000 is there.
    plan = mx.plan(mx.einsum("ij,jk,kl->il", *arrays))
    assert plan.predicted_peak - plan.active_before < 4_000_000


def test_transformations():
    a, b = mx.array([[1.0, 2.0], [3.0, 4.0]]), mx.array([[5.0, 6.0], [7.0, 8.0]])
    gradient = mx.grad(lambda x: mx.einsum("ij,jk->", x, b))(a)
    assert gradient.tolist() == [[11, 15], [11, 15]]
    batch = mx.vmap(lambda x: mx.einsum("j,jk->k", x, b))(a)
    np.testing.assert_allclose(to_numpy(batch), to_numpy(a @ b))
