"""Writes what lies beside it: recurrent modules of PyTorch, their inputs and their outputs.

    python tests/data/torch/make.py

Needs PyTorch and safetensors; the tests do not. ``NAME.safetensors`` is a state dictionary as
PyTorch writes it; ``outputs.npz`` holds the input, and the output of each module.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

HERE = Path(__file__).parent
D, H, T, B = 3, 4, 6, 2
KINDS: dict[str, Any] = {"rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}
FORMS: dict[str, dict[str, Any]] = {
    "one": {},
    "plain": {"bias": False},
    "stacked": {"num_layers": 3},
    "both": {"bidirectional": True},
    "deep": {"num_layers": 2, "bidirectional": True},
}


def main() -> None:
    torch.manual_seed(0)
    x = torch.randn(B, T, D, dtype=torch.float64)
    arrays: dict[str, Any] = {"x": x.numpy()}
    states: dict[str, Any] = {}
    for kind, module in KINDS.items():
        for form, options in FORMS.items():
            net = module(D, H, batch_first=True, dtype=torch.float64, **options)
            single = module(D, H, batch_first=True, **options)
            single.load_state_dict(net.state_dict())
            states |= {f"{kind}.{form}.{n}": v.contiguous() for n, v in net.state_dict().items()}
            arrays[f"{kind}.{form}/float64"] = net(x)[0].detach().numpy()
            arrays[f"{kind}.{form}/float32"] = single(x.float())[0].detach().numpy()
    save_file(states, HERE / "modules.safetensors", metadata={"format": "pt"})
    half = {"w": torch.tensor([[1.5, -2.0]], dtype=torch.bfloat16), "n": torch.tensor(3)}
    save_file(half, HERE / "types.safetensors")
    np.savez(HERE / "outputs.npz", **arrays)


if __name__ == "__main__":
    main()
