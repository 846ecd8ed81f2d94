"""The paper's network with weights that look random and are the same on every machine.

Run as a script, with the authors' package on the path, to write ``data/release_network.npz`` anew:
``PYTHONPATH=tests python -m test_models.test_refiner.release_network``.
"""

from pathlib import Path

import numpy as np
import torch

FIXTURE = Path(__file__).parent / 'data' / 'release_network.npz'
#: (H, W, L, fast): smaller and larger than L, multiples of 8 and not.
CASES = [(61, 50, 72, True), (104, 90, 80, True), (150, 140, 128, False)]
#: Bias of the finest output: it sets the share of foreground.
BIAS = -0.4


def random_weights(shapes):
    """Weights and statistics for a state dict of the release's keys (without ``module.``).

    Args:
        shapes: key -> shape.

    Returns:
        key -> float32 tensor.
    """
    random = np.random.RandomState(0)
    state = {}
    for key in sorted(shapes):
        shape = tuple(shapes[key])
        if key.endswith('num_batches_tracked'):
            value = np.ones(shape, np.int64)
        elif len(shape) == 4:
            fan_in = np.prod(shape[1:])
            # Uniform numbers are quicker to draw than normal ones; the variance is 1.3 / fan_in.
            value = (random.random_sample(shape) - 0.5) * np.sqrt(12 * 1.3 / fan_in)
        elif key.endswith('running_var'):
            value = random.uniform(0.5, 1.5, shape)
        elif key.endswith('weight'):
            value = random.uniform(0.6, 1.0, shape)
        else:
            value = random.uniform(-0.2, 0.2, shape)
        state[key] = torch.from_numpy(np.asarray(value)).float()
    state['final_21.bias'][:] = BIAS
    return state


def scene(height, width):
    """A photo of noise and edges, (H, W, 3) uint8, and a mask, (H, W) bool."""
    random = np.random.RandomState(1)
    y, x = np.mgrid[:height, :width]
    photo = random.randint(0, 256, (height, width, 3)).astype(float) * 0.3
    photo += 160 * ((x // 23 + y // 31) % 2)[..., None]
    mask = (x - 0.3 * width) ** 2 + (y - 0.35 * height) ** 2 < (0.27 * max(height, width)) ** 2
    return photo.clip(0, 255).astype(np.uint8), mask


def tensors(height, width):
    """:func:`scene` as the network takes it: (1, 3, H, W) normalised and (1, 1, H, W) of -1, 1."""
    photo, mask = scene(height, width)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    image = (torch.from_numpy(photo).float() / 255 - mean) / std
    return image.permute(2, 0, 1)[None], torch.from_numpy(mask)[None, None].float() * 2 - 1


@torch.no_grad()
def main():
    from test_cascade.authors import import_authors, refine_like_authors

    network = import_authors('models.psp.pspnet').RefinementModule().eval()
    network.load_state_dict(
        random_weights({key: value.shape for key, value in network.state_dict().items()})
    )
    numbers = {}
    for height, width, L, fast in CASES:
        crops = []

        def counted(*args, crops=crops):
            crops.append(args)
            return network(*args)

        result = refine_like_authors(counted, *tensors(height, width), fast, L)
        name = f'{height}x{width}_{L}_{"fast" if fast else "full"}'
        numbers[name] = result
        numbers[f'{name}_crops'] = len(crops) - 1
        print(name, 'crops', len(crops) - 1, 'share of foreground', (result > 127).mean())
    image, mask = tensors(64, 72)
    # In double precision, so that only our rounding is measured.
    outputs = network.double()(image.double(), mask.double())
    for key, value in outputs.items():
        if key.startswith('out_'):
            numbers[key] = value[0, 0, ::5, ::5].numpy()
            print(key, value.min().item(), value.max().item())
    np.savez_compressed(FIXTURE, **numbers)


if __name__ == '__main__':
    main()
