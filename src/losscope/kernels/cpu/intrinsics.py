"""What numba lacks for these kernels: typed pointers, the 16-bit floats, a few instructions by name.

An element type is a numba type: float32 and float64 as they are, `BFLOAT16` and `FLOAT16` as 16-bit
integers that `load` and `store` convert. Everything between a load and a store is float32, or float64
where the elements are.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core.cgutils import get_or_insert_function
from numba.extending import intrinsic

BFLOAT16 = types.uint16
FLOAT16 = types.int16
LANES = 16  # of one vector: 64 bytes of float32, a whole cache line

_FLOAT, _HALF, _SHORT, _INT, _LONG = ir.FloatType(), ir.HalfType(), ir.IntType(16), ir.IntType(32), ir.IntType(64)


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


def widen(builder: Any, element: Any, value: Any) -> Any:
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


def narrow(builder: Any, element: Any, value: Any) -> Any:
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
        return widen(builder, element, builder.load(builder.gep(args[0], [args[1]])))

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
        builder.store(narrow(builder, element, args[2]), builder.gep(args[0], [args[1]]))
        return context.get_dummy_value()

    return types.void(base, types.int64, computed_in(element)), generate


@intrinsic
def wide_vectors(typingctx: Any) -> Any:
    """Let the compiler fill the widest vectors in this function, which for some CPUs it halves unless it is told."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        # Not in llvmlite's list of names, which is why it goes to the set beneath.
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
def choose_below(typingctx: Any, x: Any, bound: Any, then: Any, otherwise: Any) -> Any:
    """`then` where x < bound, else `otherwise`; NaN is not below. Of numbers, or lane by lane of vectors."""
    sorts = (x, bound, then, otherwise)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = context.get_value_type(signature.return_type)
        value, limit, low, high = (lanes_of(builder, a, kind) for a in args)
        return builder.select(builder.fcmp_ordered("<", value, limit), low, high)

    return next((sort for sort in sorts if hasattr(sort, "real")), x)(*sorts), generate


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
def power_of_two(typingctx: Any, shifted: Any) -> Any:
    """2ⁿ of the integer n in the lowest bits of a float, or of each of a vector."""
    real = getattr(shifted, "real", shifted)
    bits, bias = (23, 127) if real == types.float32 else (52, 1023)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = _vector(ir.IntType(real.bitwidth), args[0].type)
        n = builder.shl(builder.bitcast(args[0], kind), _constant(kind, bits))
        return builder.bitcast(builder.add(n, _constant(kind, bias << bits)), args[0].type)

    return shifted(shifted), generate


@intrinsic
def bits_of_float(typingctx: Any, value: Any) -> Any:
    """The bits of a float: float32 to int32, float64 to int64."""
    integer = types.int32 if value == types.float32 else types.int64

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], context.get_value_type(integer))

    return integer(value), generate


@intrinsic
def take(typingctx: Any, counter: Any) -> Any:
    """counter[0]++ as one atomic step; the value before it. What a thread wrote before, those that come later see."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        one = ir.Constant(ir.IntType(64), 1)
        return builder.atomic_rmw("add", args[0], one, "acq_rel")

    return types.int64(types.CPointer(types.int64)), generate


@intrinsic
def prefetch(typingctx: Any, base: Any, index: Any) -> Any:
    """Ask for the cache line of base[index], to read it; an address past the end does no harm."""
    return types.void(base, types.int64), _asking(0)


@intrinsic
def prefetch_to_write(typingctx: Any, base: Any, index: Any) -> Any:
    """The same, to write it."""
    return types.void(base, types.int64), _asking(1)


def _asking(write: int) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        byte = ir.IntType(8).as_pointer()
        shape = ir.FunctionType(ir.VoidType(), [byte, _INT, _INT, _INT])
        ask = builder.module.declare_intrinsic("llvm.prefetch", [byte], shape)
        where = builder.bitcast(builder.gep(args[0], [args[1]]), byte)
        builder.call(ask, [where, ir.Constant(_INT, write), ir.Constant(_INT, 2), ir.Constant(_INT, 1)])
        return context.get_dummy_value()

    return generate


def lanes_below(builder: Any, count: Any) -> Any:
    """The mask of a vector's first `count` lanes."""
    wide = ir.VectorType(_INT, LANES)
    numbers = ir.Constant(wide, list(range(LANES)))
    return builder.icmp_signed("<", numbers, splat_lanes(builder, wide, builder.trunc(count, _INT)))


def splat_lanes(builder: Any, wide: Any, value: Any) -> Any:
    """The value in every lane."""
    vector = builder.insert_element(ir.Constant(wide, ir.Undefined), value, ir.Constant(_INT, 0))
    return builder.shuffle_vector(vector, vector, ir.Constant(ir.VectorType(_INT, wide.count), [0] * wide.count))


def lanes_of(builder: Any, value: Any, like: Any) -> Any:
    """A value in every lane, if it is not a vector already."""
    return value if value.type == like else splat_lanes(builder, like, value)


def _transpose(builder: Any, rows: list[Any]) -> list[Any]:
    """16 vectors of 16 lanes as their columns. Each interleaving turns (row, lane), 8 bits, by one bit to the left."""
    kind = ir.VectorType(_INT, LANES)
    halves = [[k // 2 + half + LANES * (k % 2) for k in range(LANES)] for half in (0, LANES // 2)]
    low, high = (ir.Constant(kind, half) for half in halves)
    for _ in range(4):
        pairs = zip(rows[: LANES // 2], rows[LANES // 2 :], strict=True)
        rows = [builder.shuffle_vector(a, b, half) for a, b in pairs for half in (low, high)]
    return rows


def masked(builder: Any, what: str, result: Any, arguments: list[Any], vector: Any) -> Any:
    """LLVM's masked load or store of such a vector."""
    name = f"llvm.masked.{what}.v{vector.count}{vector.element.intrinsic_name}.p0"
    return get_or_insert_function(builder.module, ir.FunctionType(result, arguments), name)


def address(builder: Any, base: Any, index: Any, vector: Any) -> Any:
    """&base[index] as a pointer to such a vector."""
    return builder.bitcast(builder.gep(base, [index]), vector.as_pointer())


@intrinsic
def gather_tile(
    typingctx: Any, source: Any, start: Any, step: Any, rows: Any, columns: Any, goal: Any, at: Any, pitch: Any
) -> Any:
    """goal[at + h · pitch + r] = source[start + r · step + h] for 16 rows r and columns h, in registers.

    Of fewer `rows` the last one is repeated; of fewer `columns` the others are 0, and nothing of them is read.
    """
    element, real = source.dtype, goal.dtype

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        base, first, stride, count, width, out, to, between = args
        stored = ir.VectorType(context.get_value_type(element), LANES)
        wide = ir.VectorType(context.get_value_type(real), LANES)
        mask = lanes_below(builder, width)
        read = masked(builder, "load", stored, [stored.as_pointer(), _INT, mask.type, stored], stored)
        align, zeros = ir.Constant(_INT, element.bitwidth // 8), ir.Constant(stored, None)
        vectors, last = [], builder.sub(count, ir.Constant(_LONG, 1))
        for r in range(LANES):
            number = ir.Constant(_LONG, r)
            row = builder.select(builder.icmp_signed("<", number, count), number, last)
            where = address(builder, base, builder.add(first, builder.mul(row, stride)), stored)
            vectors.append(widen(builder, element, builder.call(read, [where, align, mask, zeros])))
        for h, column in enumerate(_transpose(builder, vectors)):
            where = builder.add(to, builder.mul(between, ir.Constant(_LONG, h)))
            builder.store(column, address(builder, out, where, wide), align=real.bitwidth // 8)
        return context.get_dummy_value()

    long = types.int64
    return types.void(source, long, long, long, long, goal, long, long), generate


@intrinsic
def scatter_tile(
    typingctx: Any, source: Any, at: Any, pitch: Any, goal: Any, start: Any, step: Any, columns: Any
) -> Any:
    """The inverse of `gather_tile`, of 16 whole rows: goal[start + r · step + h] = source[at + h · pitch + r]."""
    element, real = goal.dtype, source.dtype

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        base, first, between, out, to, stride, width = args
        stored = ir.VectorType(context.get_value_type(element), LANES)
        wide = ir.VectorType(context.get_value_type(real), LANES)
        mask = lanes_below(builder, width)
        write = masked(builder, "store", ir.VoidType(), [stored, stored.as_pointer(), _INT, mask.type], stored)
        align = ir.Constant(_INT, element.bitwidth // 8)
        vectors = []
        for h in range(LANES):
            where = builder.add(first, builder.mul(between, ir.Constant(_LONG, h)))
            vectors.append(builder.load(address(builder, base, where, wide), align=real.bitwidth // 8))
        for r, row in enumerate(_transpose(builder, vectors)):
            where = address(builder, out, builder.add(to, builder.mul(stride, ir.Constant(_LONG, r))), stored)
            builder.call(write, [narrow(builder, element, row), where, align, mask])
        return context.get_dummy_value()

    long = types.int64
    return types.void(source, long, long, goal, long, long, long), generate
