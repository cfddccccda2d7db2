"""The output head and the log-softmax of response tokens in one, without ever holding a batch's logits.

Logits are made in chunks. The first chunk's exponentials are kept for the backward pass, those of others are computed
again, so memory is bounded by two chunks, whatever the batch. With n tokens, V words and H hidden units a training step
of the head costs

    6 n V H    n within one chunk      logits, gradient of the hidden states, gradient of the head
    8 n V H    beyond it               the same, and logits once more
    4 n V H    a frozen head (LoRA)    logits, gradient of the hidden states

d log p(y) / dh = W[y] - sum_v p(v) W[v] does not depend on the loss, which only scales each token's. So with a frozen
head it is made while the logits are there, and nothing is computed again.
"""

from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear
from torch.utils.checkpoint import checkpoint

EXTRAS: Final = ("entropy", "top1", "collision", "mean_logit")
"""What can be had beside the log-probability, without gradient; see TokenValues."""


@dataclass(frozen=True)
class TokenValues:
    """Values of n response tokens, shape (n,), float32 or better, in nats; p is the policy's distribution there."""

    logps: torch.Tensor
    """log p(token)"""
    entropy: torch.Tensor | None = None
    """-sum_v p(v) log p(v)"""
    top1: torch.Tensor | None = None
    """1 where no word has a larger logit than the token, else 0."""
    collision: torch.Tensor | None = None
    """log sum_v p(v)^2: the log-probability that two draws are the same."""
    mean_logit: torch.Tensor | None = None
    """Mean over the vocabulary of the logits."""


def token_values(
    head: nn.Module, hidden: torch.Tensor, targets: torch.Tensor, *, chunk: int, extras: tuple[str, ...] = ()
) -> TokenValues:
    """Return the values of `targets` (n,) under softmax(head(hidden)), hidden (n, H), `chunk` tokens at a time.

    A head that is more than a matrix (an adapter, quantised or sharded weights) is called as it is, and computed again
    in the backward pass.
    """
    grad = torch.is_grad_enabled()
    if _is_matrix(head):
        dtype = torch.get_autocast_dtype(hidden.device.type) if torch.is_autocast_enabled(hidden.device.type) else None
        columns = _MatrixHead.apply(hidden, head.weight, head.bias, targets, chunk, extras, dtype or hidden.dtype, grad)
    else:
        pieces = zip(hidden.split(chunk), targets.split(chunk), strict=True)
        again = [checkpoint(_of_module, head, *p, extras, use_reentrant=False) for p in pieces] if grad else None
        pieces = zip(hidden.split(chunk), targets.split(chunk), strict=True)
        columns = torch.cat(again or [_of_module(head, *piece, extras) for piece in pieces])
        columns = (columns[:, 0], columns[:, 1:].detach())
    logps, others = columns
    return TokenValues(logps, **dict(zip(extras, others.unbind(1), strict=True)))


def _is_matrix(head: nn.Module) -> bool:
    """Return whether the head is a plain matrix product, whose weights may be used without calling it."""
    return type(head) is nn.Linear and type(head.weight) is nn.Parameter and not head._forward_hooks


def _of_module(head: nn.Module, hidden: torch.Tensor, targets: torch.Tensor, extras: tuple[str, ...]) -> torch.Tensor:
    """Return log p(targets) and the extras, (n, 1 + extras), by autograd's own operations."""
    logits = head(hidden)
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    logps = logits.gather(1, targets[:, None]).squeeze(1) - torch.logsumexp(logits, dim=-1)
    with torch.no_grad():
        _, _, _, others = _exponentials(logits.detach().clone(), targets, extras)
    return torch.cat([logps[:, None], others], dim=1)


def _exponentials(
    logits: torch.Tensor, targets: torch.Tensor, extras: tuple[str, ...]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return e = exp(logits - max), in the memory of `logits`; its sum over words; log p(targets); the extras.

    (n, V), (n,) -> (n, V), (n,), (n,), (n, extras).
    """
    # Autocast takes the sums of products below for matrix products, and would round them to 8 bits.
    with torch.autocast(logits.device.type, enabled=False):
        return _exact_exponentials(logits, targets, extras)


def _exact_exponentials(
    logits: torch.Tensor, targets: torch.Tensor, extras: tuple[str, ...]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Do what `_exponentials` says, in the dtype of `logits`."""
    target = logits.gather(1, targets[:, None]).squeeze(1)
    largest = logits.amax(dim=1)
    found = {}
    if "mean_logit" in extras:
        found["mean_logit"] = logits.mean(dim=1)
    if "top1" in extras:
        found["top1"] = (target >= largest).to(logits.dtype)
    centred = logits.sub_(largest[:, None])
    e = centred.exp() if "entropy" in extras else centred.exp_()
    total = e.sum(dim=1)
    log_total = total.log()
    if "entropy" in extras:
        found["entropy"] = log_total - torch.einsum("nv,nv->n", e, centred) / total
    if "collision" in extras:
        found["collision"] = torch.einsum("nv,nv->n", e, e).log() - 2 * log_total
    others = torch.stack([found[name] for name in extras], dim=1) if extras else e.new_empty(len(e), 0)
    return e, total, target - largest - log_total, others


def _logit_gradient(
    e: torch.Tensor, total: torch.Tensor, targets: torch.Tensor, scale: torch.Tensor, dtype: torch.dtype
) -> torch.Tensor:
    """Return d sum(scale * log p(targets)) / d logits = scale * (1[v = target] - p(v)), (n, V), in `e`'s memory."""
    gradient = e.mul_((-scale / total)[:, None])
    gradient[torch.arange(len(e), device=e.device), targets] += scale
    return gradient.to(dtype)


class _MatrixHead(torch.autograd.Function):
    """log p(targets) under softmax(hidden @ weight.T + bias), and the extras, as the module says."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        targets: torch.Tensor,
        chunk: int,
        extras: tuple[str, ...],
        dtype: torch.dtype,
        grad: bool,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(n, H), (V, H), (V,), (n,) -> (n,), (n, extras). `dtype` is that of matrix products."""
        ctx.set_materialize_grads(False)
        cast, cast_bias = weight.to(dtype), None if bias is None else bias.to(dtype)
        trained = weight.requires_grad or (bias is not None and bias.requires_grad)
        unit = torch.empty_like(hidden) if grad and hidden.requires_grad and not trained else None
        ctx.kept = None
        logps, others, sums = [], [], []
        for start in range(0, len(hidden), chunk):
            part = slice(start, start + chunk)
            logits = linear(hidden[part].to(dtype), cast, cast_bias)
            logits = logits.to(torch.promote_types(dtype, torch.float32))
            e, total, logp, other = _exponentials(logits, targets[part], extras)
            if unit is not None:
                ones = torch.ones_like(total)
                unit[part] = _logit_gradient(e, total, targets[part], ones, dtype) @ cast
            elif grad and trained and start == 0:
                ctx.kept = (e, total)
            logps.append(logp)
            others.append(other)
            sums.append(total)
        ctx.chunk, ctx.dtype, ctx.frozen = chunk, dtype, unit is not None
        ctx.save_for_backward(*((unit,) if unit is not None else (hidden, weight, bias, targets)))
        extra = torch.cat(others) if others else hidden.new_empty(0, len(extras))
        ctx.mark_non_differentiable(extra)
        return torch.cat(logps) if logps else hidden.new_empty(0), extra

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, scale: torch.Tensor | None, _: torch.Tensor | None) -> tuple[Any, ...]:
        """Return the gradients of hidden, weight and bias; `scale` (n,) is the loss's of each log-probability."""
        nothing = (None,) * 5
        if scale is None:
            return None, None, None, *nothing
        if ctx.frozen:
            (unit,) = ctx.saved_tensors
            return (unit * scale[:, None]).to(unit.dtype), None, None, *nothing
        hidden, weight, bias, targets = ctx.saved_tensors
        cast, cast_bias = weight.to(ctx.dtype), None if bias is None else bias.to(ctx.dtype)
        wide = torch.promote_types(ctx.dtype, torch.float32)
        grad_hidden = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        grad_weight = torch.zeros_like(weight, dtype=wide) if ctx.needs_input_grad[1] else None
        grad_bias = torch.zeros_like(bias, dtype=wide) if bias is not None and ctx.needs_input_grad[2] else None
        for start in range(0, len(hidden), ctx.chunk):
            part = slice(start, start + ctx.chunk)
            rows = hidden[part].to(ctx.dtype)
            if start == 0 and ctx.kept is not None:
                (e, total), ctx.kept = ctx.kept, None
            else:
                logits = linear(rows, cast, cast_bias).to(wide)
                e, total, _, _ = _exponentials(logits, targets[part], ())
            gradient = _logit_gradient(e, total, targets[part], scale[part], ctx.dtype)
            if grad_hidden is not None:
                grad_hidden[part] = gradient @ cast
            if grad_weight is not None:
                _add_product(grad_weight, gradient, rows)
            if grad_bias is not None:
                grad_bias += gradient.sum(dim=0, dtype=wide)
        return grad_hidden, grad_weight, grad_bias, *nothing


def _add_product(sum_: torch.Tensor, gradient: torch.Tensor, hidden: torch.Tensor) -> None:
    """sum_ += gradient.T @ hidden in the dtype of `sum_`: a product rounded to bfloat16 first would bias the sum."""
    if gradient.dtype == sum_.dtype:
        sum_.addmm_(gradient.T, hidden)
    elif gradient.device.type == "cuda":
        sum_ += torch.mm(gradient.T, hidden, out_dtype=sum_.dtype)
    else:
        sum_.addmm_(gradient.T.to(sum_.dtype), hidden.to(sum_.dtype))
