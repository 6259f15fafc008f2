"""How every kernel of this package is compiled: cached on disk, without the GIL, NaN kept."""

from collections.abc import Callable
from functools import partial, wraps
from types import SimpleNamespace
from typing import Any, TypeVar, cast

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.ccallback import CFunc
from numba.core.sigutils import normalize_signature
from numba.extending import intrinsic, overload
from numba.np.arrayobj import make_array, populate_array

from ooc.core.compile_child import Compilation
from ooc.core.kernel_cache import FOLDER, CompiledBefore, source_of
from ooc.core.threading_layer import choose_layer

Function = TypeVar("Function", bound=Callable[..., Any])

# Sums may be reordered so that they vectorise. "nnan" and "ninf" are left out on purpose: they
# would let the compiler delete the checks by which NaN is found.
REORDERED_SUMS = {"reassoc", "contract", "arcp", "nsz"}

choose_layer()


def kernel(function: Function) -> Function:
    """Compile a module-level function once for each set of argument types.

    A kernel calls other kernels only as module globals: a closure over a compiled function would
    be compiled anew in every process.
    """
    return _compiled(function, fastmath=REORDERED_SUMS)


def exact_kernel(function: Function) -> Function:
    """Compile like `kernel`, with every floating-point operation in the order written."""
    return _compiled(function, fastmath=False)


def lean_kernel(function: Function) -> Function:
    """Compile like `exact_kernel` what allocates nothing, in half of the time.

    It counts no references, so that it may return numbers, and never an array.
    """
    return _compiled(function, fastmath=False, _nrt=False)


def lean_sums(function: Function) -> Function:
    """Compile like `kernel` a function that allocates nothing, see `lean_kernel`."""
    return _compiled(function, fastmath=REORDERED_SUMS, _nrt=False)


def small_kernel(function: Function) -> Function:
    """Compile like `lean_kernel` a few lines, as part of each kernel that calls them."""
    return _compiled(function, fastmath=False, _nrt=False, inline="always")


def _compiled(function: Function, **options: Any) -> Function:
    # A kernel would inherit "_nrt", that references are counted, from a lean one that calls it.
    # C calls no kernel by its name: what C calls is a `part`.
    common = {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True, "_nrt": True}
    compile_: Any = numba.njit
    made = compile_(**(common | options))(function)
    if FOLDER is not None:
        made._cache = CompiledBefore(function)
    return cast(Function, made)


def part(function: Callable[..., Any], signature: Any, **options: Any) -> Any:
    """Compile a module-level function to be called by its address, once; see `by_address`.

    What is returned has an ``address``, and must live for as long as that is used: here it lives
    as long as the process. It is found again in the disk cache by the next one.

    Parameters
    ----------
    function
        Plain, or a kernel.
    signature
        Of Numba, such as ``float64(float64)``.
    options
        For `numba.cfunc`; ``cache=False`` for a function that no importable module holds.

    Examples
    --------
    >>> def double(x):
    ...     return 2.0 * x
    >>> part(double, numba.float64(numba.float64), cache=False).ctypes(4.0)
    8.0
    """
    plain = getattr(function, "py_func", function)
    options = {"cache": True, "error_model": "numpy", "_nrt": False, **options}
    known = (plain, signature, tuple(sorted(options.items())))
    if _LISTS and options["cache"]:
        name = f"{plain.__module__}.{plain.__qualname__} {signature} {known[2]}"
        name += source_of(plain)
        _LISTS[-1].append(Compilation(name, partial(_part, known)))
        return _NOWHERE
    return _PARTS[known] if known in _PARTS else _part(known)


def remembered(address_of: Callable[..., int]) -> Callable[..., int]:
    """Let a function that finds the address of a `part` be asked once for the same arguments.

    To make a signature of Numba and to look it up takes longer than many a call by address.

    Examples
    --------
    >>> asked = []
    >>> find = remembered(lambda name: asked.append(name) or len(asked))
    >>> find("one"), find("one"), find("two"), asked
    (1, 1, 2, ['one', 'two'])
    """
    known = dict[tuple[Any, ...], int]()

    @wraps(address_of)
    def find(*asked: Any) -> int:
        # While parts are listed they have no address, and each list is to hold them.
        found = 0 if _LISTS else known.get(asked, 0)
        if not found:
            found = address_of(*asked)
            if found:
                known[asked] = found
        return found

    return find


def _part(known: tuple[Callable[..., Any], Any, tuple[tuple[str, Any], ...]]) -> Any:
    plain, signature, options = known
    if known not in _PARTS:
        chosen = dict(options)
        is_kept = chosen.pop("cache") and FOLDER is not None
        made: Any = CFunc(plain, normalize_signature(signature), locals={}, options=chosen)
        if is_kept:
            made._cache = CompiledBefore(plain)
        made.compile()
        _PARTS[known] = made
    return _PARTS[known]


_PARTS: dict[tuple[Callable[..., Any], Any, Any], Any] = {}
_LISTS: list[list[Compilation]] = []
_NOWHERE = SimpleNamespace(address=0)


def parts_of(make: Callable[[], object]) -> list[Compilation]:
    """Return the parts that are asked for while something is made, none of them compiled.

    What is made is of no use: its parts have the address 0.
    """
    _LISTS.append([])
    try:
        make()
    finally:
        found = _LISTS.pop()
    return found


def kernel_for(function: Any, *given: Any) -> Compilation:
    """Return the compilation of a kernel for arguments like these."""
    types_ = tuple(numba.typeof(each) for each in given)
    plain = function.py_func
    name = f"{plain.__module__}.{plain.__qualname__} {types_}{source_of(plain)}"
    return Compilation(name, partial(function.compile, types_))


def by_address(signature_of: Callable[[tuple[Any, ...]], Any]) -> Any:
    """Make a function for kernels, ``call(address, arguments)``, that calls a `part`.

    Parts that meet by address are compiled apart: another part compiles nothing but itself. Of the
    arguments' types `signature_of` gives the signature that the part was compiled with; a part
    returns something, a status if nothing else.
    """

    @intrinsic
    def call(typing_context, address, arguments):  # type: ignore[no-untyped-def]
        signature = signature_of(arguments.types)

        def generate(context, builder, types, values):  # type: ignore[no-untyped-def]
            given = [
                context.cast(builder, builder.extract_value(values[1], place), found, wanted)
                for place, (found, wanted) in enumerate(
                    zip(types.args[1].types, signature.args, strict=True)
                )
            ]
            told = context.get_value_type(signature.return_type)
            kind = ir.FunctionType(told, [context.get_value_type(one) for one in signature.args])
            return builder.call(builder.inttoptr(values[0], kind.as_pointer()), given)

        return signature.return_type(numba.int64, arguments), generate

    return call


def _array_at(typing_context, address, shape, like_):  # type: ignore[no-untyped-def]
    """Return the array of a shape, a tuple, at an address; its type is that of `like_`."""
    # Only kernels may call it, and whoever owns the memory must outlive the call.
    found = types.Array(like_, len(shape), "C")

    def generate(context, builder, signature, values):  # type: ignore[no-untyped-def]
        kind = context.get_data_type(found.dtype).as_pointer()
        return _array(context, builder, found, builder.inttoptr(values[0], kind), values[1])

    return found(types.int64, shape, like_), generate


def _array_of(typing_context, pointer, shape):  # type: ignore[no-untyped-def]
    """Return the array of a shape, a tuple, that a pointer points to; see `array_at`."""
    found = types.Array(pointer.dtype, len(shape), "C")

    def generate(context, builder, signature, values):  # type: ignore[no-untyped-def]
        return _array(context, builder, found, values[0], values[1])

    return found(pointer, shape), generate


def _prefetch_to(locality: int) -> Callable[..., Any]:
    """Return what asks for memory, into all caches at 3, into all but the first at 2 (LLVM's)."""

    def prefetch(typing_context, address):  # type: ignore[no-untyped-def]
        """Ask for the memory at an address, which is soon to be read, and wait for nothing."""

        def generate(context, builder, signature, values):  # type: ignore[no-untyped-def]
            pointer, number = ir.IntType(8).as_pointer(), ir.IntType(32)
            kind = ir.FunctionType(ir.VoidType(), [pointer, number, number, number])
            known = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
            # To be read; it is data.
            said = [number(0), number(locality), number(1)]
            builder.call(known, [builder.inttoptr(values[0], pointer), *said])
            return context.get_dummy_value()

        return types.void(types.int64), generate

    return prefetch


def _copy_bytes(typing_context, target, source, size):  # type: ignore[no-untyped-def]
    """Copy bytes from an address to another one, which do not overlap."""

    def generate(context, builder, signature, values):  # type: ignore[no-untyped-def]
        pointer = ir.IntType(8).as_pointer()
        to, of = (builder.inttoptr(value, pointer) for value in values[:2])
        cgutils.raw_memcpy(builder, to, of, values[2], 1)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), generate


def _view_at(typing_context, whole, start, shape):  # type: ignore[no-untyped-def]
    """Return the array of a shape, a tuple, that begins at a place of another, contiguous."""
    # It is what a slice and a `reshape` give, and compiles in a fifth of their time. It keeps
    # nothing alive: the whole comes from outside of the kernel, which frees its own arrays after
    # their last use by name.
    found = types.Array(whole.dtype, len(shape), "C")

    def generate(context, builder, signature, values):  # type: ignore[no-untyped-def]
        data = make_array(whole)(context, builder, values[0]).data
        return _array(context, builder, found, builder.gep(data, [values[1]]), values[2])

    return found(whole, types.int64, shape), generate


def _array(context: Any, builder: Any, found: Any, pointer: Any, shape: Any) -> Any:
    """Build an array that owns nothing."""
    item = context.get_abi_sizeof(context.get_data_type(found.dtype))
    sizes = cgutils.unpack_tuple(builder, shape)
    strides: list[Any] = []
    for place in range(len(sizes) - 1, -1, -1):
        one = context.get_constant(types.intp, item)
        strides.insert(0, builder.mul(strides[0], sizes[place + 1]) if strides else one)
    array = make_array(found)(context, builder)
    populate_array(
        array,
        data=pointer,
        shape=cgutils.pack_array(builder, sizes),
        strides=cgutils.pack_array(builder, strides),
        itemsize=context.get_constant(types.intp, item),
        meminfo=None,
    )
    return array._getvalue()


# Made so, and not by decorators, because their types are known to kernels alone.
array_at: Any = intrinsic(_array_at)
array_of: Any = intrinsic(_array_of)
view_at: Any = intrinsic(_view_at)
copy_bytes: Any = intrinsic(_copy_bytes)
prefetch: Any = intrinsic(_prefetch_to(3))
_prefetch_line_aside: Any = intrinsic(_prefetch_to(2))


# Of a cache: what it fetches at once.
LINE_BYTES = 64
# Of rows that come from anywhere: so many rows ahead so many bytes of one are asked for.
ROWS_AHEAD, MOST_ASKED_BYTES = 32, 4096


@small_kernel
def prefetch_row(address: int | np.int64, size: int) -> None:
    """Ask for the lines that a row is in, for the second cache.

    The first one waits for few lines at once, the second one for many more.
    """
    for ahead in range(0, address % LINE_BYTES + min(size, MOST_ASKED_BYTES), LINE_BYTES):
        _prefetch_line_aside(address + ahead)


def like(value: float, x: Any) -> Any:
    """Return a number in the type of another one: float32 beside float32.

    Examples
    --------
    >>> like(0.5, np.float32(2)) * np.float32(2)
    np.float32(1.0)
    """
    return type(x)(value)


@overload(like)
def _like(value, x):  # type: ignore[no-untyped-def]
    if x == numba.float32:
        return lambda value, x: np.float32(value)
    return lambda value, x: np.float64(value)
