"""``watch``: the linter on a loss module, at its first calls and then every k-th."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from losscope.errors import InputError, describe
from losscope.kernels.sharded.shard import is_dtensor
from losscope.linting import History, lint
from losscope.linting.rule import chosen
from losscope.losses import Loss, as_loss
from losscope.watching.accumulation import Accumulation, mean_divisor, nearest_leaf
from losscope.watching.compiled import Look, look
from losscope.watching.telling import OnFinding, Teller

Module = TypeVar("Module", bound=nn.Module)
FIRST = 10
_UNEQUAL = "unequal-valid-counts"


class Watch:
    """The schedule, and what is known of a training run from the calls of its loss.

    Args:
        every: after the first calls, look at every k-th.
        step: optimizer steps made before, where a run is taken up again.
        on_finding: is given each new finding, in place of a warning.
        select: names of rules; only these are asked.
        ignore: names of rules that are not asked.
    """

    def __init__(
        self,
        *,
        every: int = 100,
        step: int = 0,
        on_finding: OnFinding | None = None,
        select: Iterable[str] | None = None,
        ignore: Iterable[str] | None = None,
    ) -> None:
        if not isinstance(every, int) or every < 1:
            raise InputError("watch", "every: a whole number from 1", repr(every), "look at every k-th call: every=100")
        self.rules = [rule.name for rule in chosen(select, ignore)]
        self.every, self.start = every, step
        self.calls = self.training_calls = 0
        self.looked = self._looking = False
        self.teller = Teller(on_finding)
        self.accumulation = Accumulation()
        self._origin: tuple[weakref.ref[Tensor], int] | None = None

    def due(self, call: int) -> bool:
        """The first calls and each ``every``-th."""
        return call <= FIRST or call % self.every == 0

    def wants_next(self) -> bool:
        """The next call is one to look at."""
        return self.due(self.calls + 1) or self.accumulation.open

    def skip(self) -> None:
        """A training call that is not shown, since it is not one to look at."""
        self.calls += 1
        self.training_calls += 1

    def saw(
        self, loss: Loss | nn.Module, z: Tensor, y: Tensor, *, training: bool, given: bool = False, failed: bool = False
    ) -> None:
        """One call of the loss.

        Args:
            loss: the loss that was called.
            z: its outputs.
            y: its targets.
            training: a gradient is wanted.
            given: the divisor of the mean was.
            failed: the call raised.
        """
        if self._looking:  # a rule tries the loss out
            return
        self.calls += 1
        self.training_calls += training
        due = self.due(self.calls)
        if due or failed or (training and self.accumulation.open):
            self._look(loss, z, y, training, given, due or failed)

    def _look(self, loss: Loss | nn.Module, z: Tensor, y: Tensor, training: bool, given: bool, whole: bool) -> None:
        if not _plain(z) or not _plain(y):
            return
        self.looked = True
        history = self._history(given) if training else None
        # A window on accumulation has just the counts to look at.
        rules = self.rules if whole else [rule for rule in self.rules if rule == _UNEQUAL]
        self._looking = True
        try:
            step = self._step(z) if training else None
            findings = lint(z, y, loss=loss, select=rules, step=step, history=history).findings
            if training:
                self._follow(loss, z, y, given)
        except Exception as error:  # a check must not end a training run
            self.teller.failed(error, self.calls)
            return
        finally:
            self._looking = False
        self.teller.tell(findings, self.calls)

    def _step(self, z: Tensor) -> int | None:
        """0 before the first optimizer step, above it once the last layer has changed, None where neither is known."""
        if self._origin is None:
            leaf = nearest_leaf(z)
            if leaf is not None:
                self._origin = weakref.ref(leaf), leaf._version
            return self.start if self.training_calls == 1 else None
        leaf, version = self._origin[0](), self._origin[1]
        if leaf is None or leaf._version == version:
            return None
        return self.start + self.training_calls - 1

    def _history(self, given: bool) -> History:
        return History(tuple(float(n) for n in self.accumulation.divisors), normalizer=given)

    def _follow(self, loss: Loss | nn.Module, z: Tensor, y: Tensor, given: bool) -> None:
        given = given or getattr(loss, "normalizer", None) is not None
        if given or _UNEQUAL in self.teller.told or getattr(loss, "reduction", None) != "mean" or not z.requires_grad:
            return
        if not self.accumulation.open:
            self.accumulation.start()
        self.accumulation.follow(z, mean_divisor(loss, z.detach(), y.detach()))

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy of a watched module, or one that was saved, is not watched."""
        return _Nothing, ()


class _Hook:
    """A watch as a hook of its module; called after forward, also when that raises."""

    def __init__(self, watch: Watch, module: nn.Module) -> None:
        self.watch = watch
        module_of = weakref.ref(module)

        def called_back(z: Tensor, y: Tensor, training: bool) -> None:
            loss = module_of()
            if loss is not None:
                watch.saw(loss, z, y, training=training)

        self.look = Look(called_back)

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: object) -> None:
        z = args[0] if args else kwargs.get("input")
        y = args[1] if len(args) > 1 else kwargs.get("target")
        if not isinstance(z, Tensor) or not isinstance(y, Tensor):
            return
        training = module.training and torch.is_grad_enabled() and z.requires_grad
        if torch.compiler.is_compiling():
            look(z.detach(), y.detach(), self.look.counter, self.look.key, training)
        else:
            given = kwargs.get("normalizer") is not None
            self.watch.saw(module, z, y, training=training, given=given, failed=result is None)

    def __reduce__(self) -> tuple[Any, ...]:
        return _Nothing, ()


class _Nothing:
    """What stands in a copy for the watch of its original."""

    def __call__(self, *_: object) -> None:
        """Do nothing."""


_HANDLES: weakref.WeakKeyDictionary[nn.Module, Any] = weakref.WeakKeyDictionary()


def watch(
    loss: Module,
    *,
    every: int = 100,
    step: int = 0,
    on_finding: OnFinding | None = None,
    select: Iterable[str] | None = None,
    ignore: Iterable[str] | None = None,
) -> Module:
    """Have the linter look at what a loss is given while a model is trained; each rule is told once.

    The module is returned itself, with a hook: its type, attributes, state, results and gradients are as before. The
    first ten calls are looked at and then every k-th, on detached outputs, which are not kept. Between them a call
    costs a few microseconds.

    Findings of severity error and warning are :class:`losscope.watching.FindingWarning` on the line that called the
    loss. The micro-batches that add up to one optimizer step are recognised by the gradient of the last layer: no
    optimizer has to be known. Under ``torch.compile`` a loss inside the graph is looked at by an operator that does
    not break it (counts over accumulation steps and the first step are not known there, and CUDA graphs are not made
    of it). Under several ranks each looks at its own batch, and the first to find something tells it.

    Args:
        loss: a module of torch or losscope.
        every: after the first calls, look at every k-th.
        step: optimizer steps made before, where a run is taken up again; the first loss may then be low.
        on_finding: is given each new :class:`losscope.linting.Finding` (also of severity info), in place of a warning.
        select: names of rules; only these are asked.
        ignore: names of rules that are not asked.

    Returns:
        ``loss``. :func:`unwatch` takes the hook away, and a copy or a saved one has none.

    Raises:
        InputError: it is no loss that is known, or ``every`` or a name of a rule is wrong.

    Example:
        >>> found = []
        >>> loss = watch(torch.nn.CrossEntropyLoss(), on_finding=found.append)
        >>> z = torch.randn(32, 10, generator=torch.Generator().manual_seed(0))
        >>> _ = loss(z.softmax(1), torch.arange(32) % 10)
        >>> [finding.rule for finding in found]
        ['softmax-before-cross-entropy']
    """
    if not isinstance(loss, nn.Module):
        raise InputError("watch", "a loss module", describe(loss), "wrap its module: watch(nn.CrossEntropyLoss())")
    as_loss(loss, where="watch")
    attach(loss, Watch(every=every, step=step, on_finding=on_finding, select=select, ignore=ignore))
    return loss


def attach(loss: nn.Module, one: Watch) -> None:
    """Let ``one`` see the calls of this loss, in place of an earlier watch."""
    unwatch(loss)
    _HANDLES[loss] = loss.register_forward_hook(_Hook(one, loss), with_kwargs=True, always_call=True)


def unwatch(loss: Module) -> Module:
    """Take the watch off a loss module, if there is one.

    Example:
        >>> unwatch(watch(torch.nn.BCEWithLogitsLoss()))
        BCEWithLogitsLoss()
    """
    handle = _HANDLES.pop(loss, None)
    if handle is not None:
        handle.remove()
    return loss


def _plain(x: Tensor) -> bool:
    """Its values can be read here: not a shard of a distributed tensor, not a tracer's stand-in."""
    return not (is_dtensor(x) or torch._C._are_functorch_transforms_active() or x.is_meta or _fake(x))


def _fake(x: Tensor) -> bool:
    return type(x) not in (Tensor, nn.Parameter) and hasattr(x, "fake_mode")
