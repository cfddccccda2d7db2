"""Fully sharded data parallelism (FSDP2): each process holds one part of every weight, gradient and optimiser state.

    model = LlamaForCausalLM
        layers.0 ... layers.N    a unit each: whole while it computes, then each process keeps its part again
        everything else          one unit, the model's own: embedding, last norm, output head (often one tensor)

The log-probabilities do not go through the model's forward: they call its backbone and then its output head, chunk by
chunk. So `computing` makes such a call a forward of the model's own unit: embedding and head are whole from its
start to its end, and again from the start of its backward pass, where chunks of logits are made a second time.
"""

from collections.abc import Callable
from typing import Any, cast

import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers import PreTrainedModel

from ingest.errors import SettingsError
from train import processes


def shard(model: PreTrainedModel) -> None:
    """Leave each process its part of `model`, which all have whole and on their device; nothing with one process.

    Raises SettingsError for a model that does not say which of its modules are its layers.
    """
    if processes.count() == 1:
        return
    layer_types = set(model._no_split_modules or ())
    layers = [module for module in model.modules() if type(module).__name__ in layer_types]
    if not layers:
        raise SettingsError(
            f"{type(model).__name__} does not name its layers, so it cannot be sharded. Use one process."
        )
    mesh = init_device_mesh(model.device.type, (processes.count(),))
    for layer in layers:
        fully_shard(layer, mesh=mesh)
    # Not kept whole after a pass without gradients: named_parameters() must give the parts.
    fully_shard(model, mesh=mesh, reshard_after_forward=True)
    anything: Any = model
    anything.run_whole = lambda compute: compute()
    register_fsdp_forward_method(anything, "run_whole")
    # transformers.Trainer then leaves placement and gradients to the model, and does not wrap it again.
    anything._is_distributed_loading_by_transformers = True


def computing(model: PreTrainedModel, compute: Callable[[], tuple[torch.Tensor, ...]]) -> tuple[torch.Tensor, ...]:
    """Return `compute()`, a function of `model`'s backbone and head, with the model's own unit whole meanwhile."""
    if isinstance(model, FSDPModule):
        # FSDP2 hooks the backward pass of the tensors that are returned, which must be no views.
        found = cast(Any, model).run_whole(lambda: tuple(tensor.clone() for tensor in compute()))
        return cast(tuple[torch.Tensor, ...], found)
    return compute()


def whole_weights(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    """Return the state of `model` gathered from all processes, on the CPU; tied weights stay one tensor."""
    owner = {name: id(parameter) for name, parameter in model.named_parameters(remove_duplicate=False)}
    gathered: dict[object, torch.Tensor] = {}
    state = model.state_dict()
    for name, tensor in state.items():
        if owner.get(name, name) not in gathered:
            gathered[owner.get(name, name)] = whole(tensor)
    return {name: gathered[owner.get(name, name)] for name in state}


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """Return a copy of `tensor` on the CPU, gathered where each process has a part; then all must call this."""
    tensor = tensor.detach()
    gathered = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
    return gathered.cpu().clone().contiguous()


def part_of(tensor: torch.Tensor, parameter: torch.Tensor) -> torch.Tensor:
    """Return this process's part of the whole `tensor`, placed as `parameter` is."""
    placed = tensor.to(parameter.device)
    if isinstance(parameter, DTensor):
        return distribute_tensor(placed, parameter.device_mesh, parameter.placements)
    return placed


def clip(parameters: list[torch.nn.Parameter], most: float) -> torch.Tensor:
    """Scale the gradients of sharded `parameters` down to the norm `most`; return the norm of all parts before."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients)
    if isinstance(norm, DTensor):
        norm = norm.full_tensor()
    torch.nn.utils.clip_grads_with_norm_(parameters, most, norm)
    return norm
