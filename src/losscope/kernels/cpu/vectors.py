"""Sixteen numbers side by side as one value: a kernel over them does not depend on what a compiler makes of a loop.

``Vector(real)`` is a numba type whose values take part in +, −, ·, / and unary minus, with each other and with single
numbers, which then stand in every lane. Where a loop's length is no multiple of 16, `load_some` and `store_some`
touch the first lanes only. `choose_below` and `exp` take single numbers and vectors alike.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.core.datamodel import models
from numba.core.typing import signature
from numba.core.typing.templates import AbstractTemplate, infer_global
from numba.extending import intrinsic, lower_builtin, register_model

from losscope.kernels.cpu.intrinsics import (
    LANES,
    address,
    computed_in,
    lanes_below,
    lanes_of,
    masked,
    narrow,
    splat_lanes,
    widen,
)


class Vector(types.Type):  # type: ignore[misc]
    """`LANES` numbers of a real type."""

    def __init__(self, real: Any) -> None:
        self.real = real
        super().__init__(name=f"Vector({real})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, ir.VectorType(manager.lookup(kind.real).get_value_type(), LANES))


def _operator(symbol: Callable[..., Any], build: str) -> None:
    """Give an operator of two numbers its meaning for vectors."""

    @infer_global(symbol)
    class Template(AbstractTemplate):  # type: ignore[misc]
        def generic(self, args: Any, kws: Any) -> Any:
            vectors = [a for a in args if isinstance(a, Vector)]
            if len(args) == 2 and vectors and all(a in (vectors[0], vectors[0].real) for a in args):
                return signature(vectors[0], *args)
            return None

    for left, right in ((Vector, Vector), (Vector, types.Float), (types.Float, Vector)):

        @lower_builtin(symbol, left, right)
        def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            like = context.get_value_type(sig.return_type)
            return getattr(builder, build)(*(lanes_of(builder, a, like) for a in args))


_operator(operator.add, "fadd")
_operator(operator.iadd, "fadd")
_operator(operator.sub, "fsub")
_operator(operator.mul, "fmul")
_operator(operator.truediv, "fdiv")


@lower_builtin(operator.neg, Vector)
def _negative(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    return builder.fneg(args[0])


@infer_global(operator.neg)
class _Negative(AbstractTemplate):  # type: ignore[misc]
    def generic(self, args: Any, kws: Any) -> Any:
        return signature(args[0], args[0]) if isinstance(args[0], Vector) else None


@intrinsic
def splat(typingctx: Any, value: Any) -> Any:
    """The number in every lane."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return splat_lanes(builder, context.get_value_type(signature.return_type), args[0])

    return Vector(value)(value), generate


@intrinsic
def doubled(typingctx: Any, v: Any) -> Any:
    """The same numbers in float64."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = context.get_value_type(signature.return_type)
        return args[0] if v.real == types.float64 else builder.fpext(args[0], kind)

    return Vector(types.float64)(v), generate


@intrinsic
def rounded(typingctx: Any, v: Any, like: Any) -> Any:
    """The numbers of a float64 vector in the type of `like`."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = context.get_value_type(signature.return_type)
        return args[0] if like == types.float64 else builder.fptrunc(args[0], kind)

    return Vector(like)(v, like), generate


@intrinsic
def load_vector(typingctx: Any, base: Any, index: Any) -> Any:
    """base[index : index + 16] as float32 (float64 where the elements are)."""
    element = base.dtype

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        stored = ir.VectorType(context.get_value_type(element), LANES)
        value = builder.load(address(builder, args[0], args[1], stored), align=element.bitwidth // 8)
        return widen(builder, element, value)

    return Vector(computed_in(element))(base, types.int64), generate


@njit(error_model="numpy")
def load_four(base: Any, index: Any) -> Any:
    """The next four vectors."""
    return (
        load_vector(base, index),
        load_vector(base, index + LANES),
        load_vector(base, index + 2 * LANES),
        load_vector(base, index + 3 * LANES),
    )


@intrinsic
def load_some(typingctx: Any, base: Any, index: Any, count: Any, otherwise: Any) -> Any:
    """The first `count` of them, and `otherwise` in the lanes beyond, of which nothing is read."""
    element = base.dtype

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        stored = ir.VectorType(context.get_value_type(element), LANES)
        mask = lanes_below(builder, args[2])
        read = masked(builder, "load", stored, [stored.as_pointer(), ir.IntType(32), mask.type, stored], stored)
        where, align = address(builder, args[0], args[1], stored), ir.Constant(ir.IntType(32), element.bitwidth // 8)
        value = widen(builder, element, builder.call(read, [where, align, mask, ir.Constant(stored, None)]))
        return builder.select(mask, value, splat_lanes(builder, value.type, args[3]))

    real = computed_in(element)
    return Vector(real)(base, types.int64, types.int64, real), generate


@intrinsic
def store_vector(typingctx: Any, base: Any, index: Any, v: Any) -> Any:
    """base[index : index + 16] = v, rounded once to the element type."""
    element = base.dtype

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        value = narrow(builder, element, args[2])
        builder.store(value, address(builder, args[0], args[1], value.type), align=element.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(base, types.int64, v), generate


@intrinsic
def store_some(typingctx: Any, base: Any, index: Any, count: Any, v: Any) -> Any:
    """The first `count` lanes of it."""
    element = base.dtype

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        value, mask = narrow(builder, element, args[3]), lanes_below(builder, args[2])
        kinds = [value.type, value.type.as_pointer(), ir.IntType(32), mask.type]
        write = masked(builder, "store", ir.VoidType(), kinds, value.type)
        where = address(builder, args[0], args[1], value.type)
        builder.call(write, [value, where, ir.Constant(ir.IntType(32), element.bitwidth // 8), mask])
        return context.get_dummy_value()

    return types.void(base, types.int64, types.int64, v), generate


@intrinsic
def stream_vector(typingctx: Any, base: Any, index: Any, v: Any) -> Any:
    """`store_vector` past the caches; base + index must be aligned to 16 elements.

    A plain store first reads the line it is about to overwrite; this one does not, which is a third of the
    traffic of a kernel that reads one array and writes another.
    """
    element = base.dtype

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        value = narrow(builder, element, args[2])
        goal = address(builder, args[0], args[1], value.type)
        stored = builder.store(value, goal, align=LANES * element.bitwidth // 8)
        stored.set_metadata("nontemporal", builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)]))
        return context.get_dummy_value()

    return types.void(base, types.int64, v), generate


def _halves(builder: Any, v: Any, combine: Callable[[Any, Any, Any], Any]) -> Any:
    """The lanes of a vector combined into one number, half with half."""
    undefined = ir.Constant(v.type, ir.Undefined)
    while v.type.count > 1:
        half = v.type.count // 2
        parts = [ir.Constant(ir.VectorType(ir.IntType(32), half), list(range(k, k + half))) for k in (0, half)]
        v = combine(builder, *(builder.shuffle_vector(v, undefined, part) for part in parts))
        undefined = ir.Constant(v.type, ir.Undefined)
    return builder.extract_element(v, ir.Constant(ir.IntType(32), 0))


def _folding(combine: Callable[[Any, Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def fold(typingctx: Any, v: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return _halves(builder, args[0], combine)

        return v.real(v), generate

    return fold


def greater(builder: Any, a: Any, b: Any) -> Any:
    """The greater of two, and the second where one is NaN: one instruction."""
    return builder.select(builder.fcmp_ordered(">", a, b), a, b)


def smaller(builder: Any, a: Any, b: Any) -> Any:
    """The smaller of two, and the second where one is NaN."""
    return builder.select(builder.fcmp_ordered("<", a, b), a, b)


sum_of_lanes = intrinsic(_folding(lambda builder, a, b: builder.fadd(a, b)))
product_of_lanes = intrinsic(_folding(lambda builder, a, b: builder.fmul(a, b)))
largest_lane = intrinsic(_folding(greater))
smallest_lane = intrinsic(_folding(smaller))


@intrinsic
def maximum(typingctx: Any, a: Any, b: Any) -> Any:
    """The greater number in each lane, and b's where one of the two is NaN."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return greater(builder, *args)

    return a(a, a), generate


@intrinsic
def minimum(typingctx: Any, a: Any, b: Any) -> Any:
    """The smaller number in each lane, and b's where one of the two is NaN."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return smaller(builder, *args)

    return a(a, a), generate


def _bits(builder: Any, v: Any, width: int) -> tuple[Any, Any]:
    """The bits of each lane as an integer, and an integer of the sign bit alone."""
    kind = ir.VectorType(ir.IntType(width), LANES)
    return builder.bitcast(v, kind), ir.Constant(kind, [1 << (width - 1)] * LANES)


@intrinsic
def magnitude(typingctx: Any, x: Any) -> Any:
    """|x|."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        bits, sign = _bits(builder, args[0], x.real.bitwidth)
        return builder.bitcast(builder.and_(bits, builder.not_(sign)), args[0].type)

    return x(x), generate


@intrinsic
def with_sign_of(typingctx: Any, x: Any, v: Any) -> Any:
    """The value v, or −v where x has a minus sign."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        (bits, sign), (value, _) = (_bits(builder, a, x.real.bitwidth) for a in args)
        return builder.bitcast(builder.xor(value, builder.and_(bits, sign)), args[0].type)

    return x(x, v), generate


@intrinsic
def choose_negative(typingctx: Any, x: Any, then: Any, otherwise: Any) -> Any:
    """`then` where x has a minus sign, else `otherwise`."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        bits, _ = _bits(builder, args[0], x.real.bitwidth)
        return builder.select(builder.icmp_signed("<", bits, ir.Constant(bits.type, None)), args[1], args[2])

    return x(x, then, otherwise), generate


@intrinsic
def first_lanes(typingctx: Any, v: Any, count: Any) -> Any:
    """The vector with 0 in every lane but the first `count`."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.select(lanes_below(builder, args[1]), args[0], ir.Constant(args[0].type, None))

    return v(v, types.int64), generate
