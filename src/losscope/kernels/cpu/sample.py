"""The loss of one sample from a few sums over its classes, and what its gradient is made of.

With x_h = z_h − m (m the largest logit) and S = Σ_h e^{x_h}, so that lse = m + ln S and s_h = x_h − ln S:

    ℓ = Σ_h a_h (lse − z_h) + λ A lse²,   a_h = w_h q_h,   A = Σ_h a_h
    ∂ℓ/∂z_h = α ŷ_h − a_h,                α = A (1 + 2 λ lse)

and for the focal loss (Lin et al. 2017), where only the true class counts and u = 1 − ŷ_y:

    ℓ = w_y (u^γ (−s_y) + λ lse²),   ∂ℓ/∂z_h = α ŷ_h − w_y c [h = y]
    c = u^γ − γ u^{γ−1} ŷ_y s_y,   α = w_y (c + 2 λ lse)
"""

from __future__ import annotations

from typing import Any

from numba import njit

from losscope.kernels.cpu.functions import EXACT, exp, expm1, log
from losscope.kernels.cpu.intrinsics import cast


@njit(fastmath=EXACT, error_model="numpy")
def of_distribution(mass: Any, surprise: Any, lse: Any, z_loss: Any) -> Any:
    """(ℓ, α) from A = Σ_h a_h and Σ_h a_h (−s_h)."""
    return surprise + z_loss * mass * lse * lse, mass + mass * ((z_loss + z_loss) * lse)


@njit(fastmath=EXACT, error_model="numpy", inline="always")
def focal_power(s: Any, gamma: Any) -> Any:
    """u^γ from s_y."""
    return exp(gamma * log(-expm1(s)))


@njit(fastmath=EXACT, error_model="numpy", inline="always")
def focal_slope(s: Any, power: Any, gamma: Any) -> Any:
    """c from s_y and u^γ."""
    p, u = exp(s), -expm1(s)
    # One comparison, inlined: a branch for each of the two would keep a loop over samples from vector instructions.
    return power - gamma * (power / u) * (p * s) if p * u > cast(0, s) else power


@njit(fastmath=EXACT, error_model="numpy")
def focal_loss(w: Any, s: Any, power: Any, lse: Any, z_loss: Any) -> Any:
    """ℓ."""
    return w * (power * -s + z_loss * lse * lse)


@njit(fastmath=EXACT, error_model="numpy")
def focal_alpha(w: Any, c: Any, lse: Any, z_loss: Any) -> Any:
    """α."""
    return w * (c + (z_loss + z_loss) * lse)


@njit(fastmath=EXACT, error_model="numpy")
def of_focal(w: Any, s: Any, lse: Any, gamma: Any, z_loss: Any) -> Any:
    """(ℓ, α, c) from w_y and s_y."""
    power = focal_power(s, gamma)
    c = focal_slope(s, power, gamma)
    return focal_loss(w, s, power, lse, z_loss), focal_alpha(w, c, lse, z_loss), c


@njit(error_model="numpy")
def of_index(w: Any, s: Any, lse: Any, gamma: Any, z_loss: Any) -> Any:
    """(ℓ, α, c) of an index target, c being 1 without the focal loss."""
    if gamma > 0:
        return of_focal(w, s, lse, gamma, z_loss)
    loss, alpha = of_distribution(w, w * -s, lse, z_loss)
    return loss, alpha, 1.0
