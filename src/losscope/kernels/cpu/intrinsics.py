"""What numba lacks for these kernels: typed pointers, the 16-bit floats, a few instructions by name.

An element type is a numba type: float32 and float64 as they are, `BFLOAT16` and `FLOAT16` as 16-bit
integers that `load` and `store` convert. Everything between a load and a store is float32, or float64
where the elements are.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

BFLOAT16 = types.uint16
FLOAT16 = types.int16
_LANES = 16  # of one vector store: 64 bytes of float32, a whole cache line

_FLOAT, _HALF, _SHORT, _INT = ir.FloatType(), ir.HalfType(), ir.IntType(16), ir.IntType(32)


def computed_in(element: Any) -> Any:
    """The type the arithmetic on these elements is done in."""
    return types.float64 if element == types.float64 else types.float32


def _vector(kind: Any, like: Any) -> Any:
    """`kind`, as wide as the LLVM type `like`: a scalar, or a vector of as many lanes."""
    return ir.VectorType(kind, like.count) if isinstance(like, ir.VectorType) else kind


def _constant(kind: Any, value: int) -> Any:
    if isinstance(kind, ir.VectorType):
        return ir.Constant(kind, [value] * kind.count)
    return ir.Constant(kind, value)


def _widen(builder: Any, element: Any, value: Any) -> Any:
    """A stored element as the float it stands for."""
    if element == BFLOAT16:
        wide = _vector(_INT, value.type)
        shifted = builder.shl(builder.zext(value, wide), _constant(wide, 16))
        return builder.bitcast(shifted, _vector(_FLOAT, value.type))
    if element == FLOAT16:
        half = builder.bitcast(value, _vector(_HALF, value.type))
        return builder.fpext(half, _vector(_FLOAT, value.type))
    return value


def _round_to_bfloat16(builder: Any, value: Any) -> Any:
    """The upper half of a float32, to nearest and ties to even; a NaN stays a (quiet) NaN."""
    wide, short = _vector(_INT, value.type), _vector(_SHORT, value.type)
    bits = builder.bitcast(value, wide)
    odd = builder.and_(builder.lshr(bits, _constant(wide, 16)), _constant(wide, 1))
    rounded = builder.add(bits, builder.add(odd, _constant(wide, 0x7FFF)))
    is_nan = builder.fcmp_unordered("uno", value, value)
    quiet = builder.or_(bits, _constant(wide, 0x00400000))
    kept = builder.select(is_nan, quiet, rounded)
    return builder.trunc(builder.lshr(kept, _constant(wide, 16)), short)


def _narrow(builder: Any, element: Any, value: Any) -> Any:
    """A float as the element that stores it, rounded once to nearest even."""
    if element == BFLOAT16:
        return _round_to_bfloat16(builder, value)
    if element == FLOAT16:
        half = builder.fptrunc(value, _vector(_HALF, value.type))
        return builder.bitcast(half, _vector(_SHORT, value.type))
    return value


@intrinsic
def pointer(typingctx: Any, address: Any, like: Any) -> Any:
    """The address as a pointer to elements of the type of `like`, whose value doesn't matter."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], context.get_value_type(signature.return_type))

    return types.CPointer(like)(types.int64, like), generate


@intrinsic
def load(typingctx: Any, base: Any, index: Any) -> Any:
    """base[index] as float32 (float64 where the elements are)."""
    element = base.dtype

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _widen(builder, element, builder.load(builder.gep(args[0], [args[1]])))

    return computed_in(element)(base, types.int64), generate


@intrinsic
def at(typingctx: Any, base: Any, index: Any) -> Any:
    """&base[index]."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.gep(args[0], [args[1]])

    return base(base, types.int64), generate


@intrinsic
def real_like(typingctx: Any, element: Any) -> Any:
    """A number of the type that these elements are computed in, for its type alone."""
    real = computed_in(element)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return ir.Constant(context.get_value_type(real), 1.0)

    return real(element), generate


@intrinsic
def cast(typingctx: Any, value: Any, like: Any) -> Any:
    """The value in the type of `like`."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return args[0]

    return like(like, like), generate


@intrinsic
def store(typingctx: Any, base: Any, index: Any, value: Any) -> Any:
    """base[index] = value, rounded once to the element type."""
    element = base.dtype

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store(_narrow(builder, element, args[2]), builder.gep(args[0], [args[1]]))
        return context.get_dummy_value()

    return types.void(base, types.int64, computed_in(element)), generate


@intrinsic
def stream_scaled(typingctx: Any, target: Any, at: Any, source: Any, start: Any, factor: Any) -> Any:
    """target[at + k] = factor · source[start + k] for k < 16, past the caches where memory is aligned for it.

    A plain store first reads the line it is about to overwrite; this one does not, which is a third of the
    traffic of a kernel that reads one array and writes another. `target + at` must be aligned to 16 elements.
    """
    element, real = target.dtype, source.dtype

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        wide = ir.VectorType(context.get_value_type(real), _LANES)
        lanes = builder.bitcast(builder.gep(args[2], [args[3]]), wide.as_pointer())
        values = builder.load(lanes, align=real.bitwidth // 8)
        splat = ir.Constant(wide, ir.Undefined)
        for k in range(_LANES):
            splat = builder.insert_element(splat, args[4], ir.Constant(_INT, k))
        narrow = _narrow(builder, element, builder.fmul(values, splat))
        goal = builder.bitcast(builder.gep(args[0], [args[1]]), narrow.type.as_pointer())
        stored = builder.store(narrow, goal, align=_LANES * element.bitwidth // 8)
        one = builder.module.add_metadata([ir.Constant(_INT, 1)])
        stored.set_metadata("nontemporal", one)
        return context.get_dummy_value()

    signature = types.void(target, types.int64, source, types.int64, computed_in(element))
    return signature, generate


@intrinsic
def larger(typingctx: Any, a: Any, b: Any) -> Any:
    """The larger of two floats, and either where one is NaN: the form of a maximum that reduces over vectors."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = args[0].type
        shape = ir.FunctionType(kind, [kind, kind])
        maximum = builder.module.declare_intrinsic("llvm.maxnum", [kind], shape)
        return builder.call(maximum, args, fastmath=("nnan", "nsz"))

    return a(a, a), generate


@intrinsic
def float_of_bits(typingctx: Any, bits: Any) -> Any:
    """The float with these bits: int32 to float32, int64 to float64."""
    real = types.float32 if bits == types.int32 else types.float64

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], context.get_value_type(real))

    return real(bits), generate


@intrinsic
def bits_of_float(typingctx: Any, value: Any) -> Any:
    """The bits of a float: float32 to int32, float64 to int64."""
    integer = types.int32 if value == types.float32 else types.int64

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], context.get_value_type(integer))

    return integer(value), generate


@intrinsic
def take(typingctx: Any, counter: Any) -> Any:
    """counter[0]++ as one atomic step; the value before it: how threads share out the chunks."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        one = ir.Constant(ir.IntType(64), 1)
        return builder.atomic_rmw("add", args[0], one, "monotonic")

    return types.int64(types.CPointer(types.int64)), generate


@intrinsic
def prefetch(typingctx: Any, base: Any, index: Any) -> Any:
    """Ask for the cache line of base[index]; an address past the end does no harm."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        byte = ir.IntType(8).as_pointer()
        shape = ir.FunctionType(ir.VoidType(), [byte, _INT, _INT, _INT])
        ask = builder.module.declare_intrinsic("llvm.prefetch", [byte], shape)
        where = builder.bitcast(builder.gep(args[0], [args[1]]), byte)
        builder.call(ask, [where, ir.Constant(_INT, 0), ir.Constant(_INT, 2), ir.Constant(_INT, 1)])
        return context.get_dummy_value()

    return types.void(base, types.int64), generate
