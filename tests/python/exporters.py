"""Objects that offer memory by other libraries' protocols, with fields as a test wants them."""

import ctypes

import numpy as np

# What they offer, if nothing else is said.
MEMORY = np.arange(128, dtype=np.uint8)
ADDRESS = MEMORY.ctypes.data

API = ctypes.pythonapi
SSIZE = ctypes.c_ssize_t
SIZES = ctypes.POINTER(SSIZE)

# Longer than any number of dimensions that is read, so that no test reads beyond them.
LONGEST = 80


class Buffer(ctypes.Structure):
    """Py_buffer."""

    _fields_ = [
        ("buf", ctypes.c_void_p),
        ("obj", ctypes.c_void_p),
        ("len", SSIZE),
        ("itemsize", SSIZE),
        ("readonly", ctypes.c_int),
        ("ndim", ctypes.c_int),
        ("format", ctypes.c_char_p),
        ("shape", SIZES),
        ("strides", SIZES),
        ("suboffsets", SIZES),
        ("internal", ctypes.c_void_p),
    ]


class Slot(ctypes.Structure):
    _fields_ = [("slot", ctypes.c_int), ("function", ctypes.c_void_p)]


class Spec(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("basicsize", ctypes.c_int),
        ("itemsize", ctypes.c_int),
        ("flags", ctypes.c_uint),
        ("slots", ctypes.POINTER(Slot)),
    ]


@ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.POINTER(Buffer), ctypes.c_int)
def _get_buffer(self, view, flags):
    buffer = view.contents
    for name in ("buf", "len", "itemsize", "readonly", "ndim", "format"):
        setattr(buffer, name, self.fields[name])
    for name in ("shape", "strides", "suboffsets"):
        setattr(buffer, name, self.sizes[name])
    buffer.internal = None
    if self.fails:
        buffer.obj = None
        return -1
    API.Py_IncRef(ctypes.py_object(self))
    buffer.obj = id(self)
    self.exports += 1
    return 0


@ctypes.PYFUNCTYPE(None, ctypes.py_object, ctypes.POINTER(Buffer))
def _release_buffer(self, view):
    self.exports -= 1


def _make_base():
    slots = (Slot * 3)(
        Slot(1, ctypes.cast(_get_buffer, ctypes.c_void_p)),
        Slot(2, ctypes.cast(_release_buffer, ctypes.c_void_p)),
        Slot(0, None),
    )
    default_and_base = (1 << 18) | (1 << 10)
    spec = Spec(b"exporters.Base", object.__basicsize__, 0, default_and_base, slots)
    API.PyType_FromSpec.restype = ctypes.py_object
    API.PyType_FromSpec.argtypes = [ctypes.POINTER(Spec)]
    return API.PyType_FromSpec(ctypes.byref(spec)), (slots, spec)


_Base, _kept = _make_base()


def sizes_or_null(values):
    """A C array of sizes; NULL for None."""
    return None if values is None else (SSIZE * LONGEST)(*values[:LONGEST])


class BufferExporter(_Base):
    """Gives out a Py_buffer with these fields, consistent or not."""

    def __init__(self, fails=False, **fields):
        self.fields = {"readonly": 0, **fields}
        self.sizes = {
            name: ctypes.cast(sizes_or_null(fields.get(name)), SIZES)
            for name in ("shape", "strides", "suboffsets")
        }
        self.fails = fails
        self.exports = 0  # how many buffers somebody holds


class Tensor(ctypes.Structure):
    """DLTensor."""

    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", SIZES),
        ("strides", SIZES),
        ("byte_offset", ctypes.c_uint64),
    ]


DELETER = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class Unversioned(ctypes.Structure):
    _fields_ = [("tensor", Tensor), ("context", ctypes.c_void_p), ("deleter", DELETER)]


class Versioned(ctypes.Structure):
    _fields_ = [
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("context", ctypes.c_void_p),
        ("deleter", DELETER),
        ("flags", ctypes.c_uint64),
        ("tensor", Tensor),
    ]


API.PyCapsule_New.restype = ctypes.py_object
API.PyCapsule_New.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
API.PyCapsule_IsValid.argtypes = [ctypes.c_void_p, ctypes.c_char_p]


class TensorExporter:
    """Gives out a DLPack capsule with these fields, consistent or not."""

    def __init__(self, name=None, version=None, shape=(), strides=None, device=None, **fields):
        self.device = device
        self.name = name or (b"dltensor_versioned" if version else b"dltensor")
        self.sizes = [sizes_or_null(shape), sizes_or_null(strides)]
        self.managed = Versioned() if version else Unversioned()
        if version:
            self.managed.major, self.managed.minor = version
        tensor = self.managed.tensor
        tensor.device_type, tensor.lanes = 1, 1
        tensor.shape, tensor.strides = (ctypes.cast(s, SIZES) for s in self.sizes)
        for field, value in fields.items():
            setattr(tensor, field, value)
        self.deleter = DELETER(self.count_deletion)
        self.managed.deleter = self.deleter
        self.destructor = ctypes.PYFUNCTYPE(None, ctypes.c_void_p)(self.destroy)
        self.capsules = self.deletions = 0

    def count_deletion(self, managed):
        self.deletions += 1

    def destroy(self, capsule):
        if API.PyCapsule_IsValid(capsule, self.name):
            self.deletions += 1

    def __dlpack_device__(self):
        return self.device or (1, 0)

    def __dlpack__(self, **options):
        self.capsules += 1
        return API.PyCapsule_New(
            ctypes.addressof(self.managed),
            self.name,
            ctypes.cast(self.destructor, ctypes.c_void_p),
        )


def buffer(format, itemsize, shape, strides=None, **fields):
    """An exporter of MEMORY whose fields fit together, but for those given."""
    length = int(np.prod(shape)) * itemsize
    fixed = {"buf": ADDRESS, "len": length, "ndim": len(shape), **fields}
    return BufferExporter(format=format, itemsize=itemsize, shape=shape, strides=strides, **fixed)


def tensor(code, bits, shape, strides=None, **fields):
    fixed = {"data": ADDRESS, "ndim": len(shape), **fields}
    return TensorExporter(code=code, bits=bits, shape=shape, strides=strides, **fixed)


class Interface:
    """An object with the dictionary __array_interface__."""

    def __init__(self, **fields):
        self.__array_interface__ = {
            "version": 3,
            "typestr": "|u1",
            "shape": (4,),
            "data": (ADDRESS, True),
            **fields,
        }


class Method:
    """An object whose __array__() does what is given."""

    def __init__(self, make):
        self.make = make

    def __array__(self, dtype=None, copy=None):
        return self.make()


class Raising:
    """An object whose attributes raise."""

    def __init__(self, error, *names):
        self.error, self.names = error, names

    def __getattr__(self, name):
        if name in self.names:
            raise self.error
        raise AttributeError(name)


class Bfloat16:
    """As a library shows bfloat16 whose buffers NumPy cannot describe."""

    class Name:
        name = "bfloat16"

    dtype = Name()

    def __init__(self, values, shape):
        bits = np.array(values, np.float32).view(np.uint32) >> 16
        self.kept = bits.astype(np.uint16).reshape(shape)
        interface = self.kept.__array_interface__
        self.__array_interface__ = {**interface, "typestr": "<V2", "descr": [("", "<V2")]}
