# What the stubs say where the module's own objects do not tell a type that has a name.
narrows.core.random.state:
    \from collections.abc import MutableSequence
    \from narrows.core import array as array
    state: MutableSequence[array]
