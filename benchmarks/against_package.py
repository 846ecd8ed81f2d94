"""This package against ``segmentation-refinement`` 0.6: same weights, photo and machine.

    pip install --no-deps --target /tmp/package segmentation-refinement==0.6
    PYTHONPATH=/tmp/package python benchmarks/against_package.py
    PYTHONPATH=/tmp/package python benchmarks/against_package.py --parts one --sizes 448 --L 448
    PYTHONPATH=/tmp/package python benchmarks/against_package.py --device cuda --parts one \\
        --sizes 1024 2048 4096 --measured-to 4096 --modes full

Runs go turn about, and wait for the GPU. Each line has seconds and photos a second. Look at the
ratios, since seconds change from machine to machine. The parts:

one       one object: sizes, fast and full, the variants MODEL:PRECISION:CROPS. Above --measured-to
          seconds are computed, from those of the Global step, of one crop, and the number of
          crops. They are marked with ~.
scene     objects of one photo: all through `refine_scene`, against one at a time in fp32.
memory    host memory at the largest size, with a network that costs nothing in both.
roofline  FLOPs and bytes of a cascade, and the time that they take at the speed of a plain matrix
          product and of a plain copy on the same machine.

Without --checkpoint the authors' network has random weights, except for one path that carries the
coarse mask to the output. The crops are then those of a mask. Both start from the uint8 photo.
"""

import argparse
import importlib
import importlib.machinery
import sys
import time
import types

import numpy as np
import torch
from measuring import PeakMemory, Runs, agreement, discs, ratios, turn_about, waves
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from mmseg_cascadepsp import Refiner, cascade
from mmseg_cascadepsp.models.refiner.convert import convert_release_state_dict
from mmseg_cascadepsp.models.refiner.zoo import build_model

PACKAGE = 'segmentation_refinement'
VARIANTS = (
    'r50:fp32:uniform',
    'r50:auto:uniform',
    'r50:bf16:uniform',
    'r50:bf16:adaptive',
    'lite:auto:uniform',
)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts = ('one', 'scene', 'memory', 'roofline')
    parser.add_argument('--parts', nargs='+', default=parts, choices=parts)
    parser.add_argument(
        '--sizes', type=int, nargs='+', default=[512, 1024, 2048, 4096, 8192], help='longer sides'
    )
    parser.add_argument('--aspect', type=float, default=0.75, help='shorter by longer side')
    parser.add_argument('--modes', nargs='+', default=['fast', 'full'], choices=['fast', 'full'])
    parser.add_argument('--variants', nargs='+', default=VARIANTS, metavar='MODEL:PRECISION:CROPS')
    parser.add_argument('--checkpoint', help="the authors' weights")
    parser.add_argument('--L', type=int, default=900)
    parser.add_argument('--rois', type=int, default=30, help='objects of the scene')
    parser.add_argument('--scene-size', type=int, default=1024)
    parser.add_argument('--measured-to', type=int, default=2048)
    parser.add_argument('--runs', type=int, default=3, help='counted runs of each, after one more')
    parser.add_argument('--no-warm-up', action='store_true')
    parser.add_argument(
        '--clock',
        default='wall',
        choices=['wall', 'cpu'],
        help='cpu: of all threads; on a busy machine, with --threads 1',
    )
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--threads', type=int, default=torch.get_num_threads())
    return parser.parse_args()


def authors_module(name: str) -> types.ModuleType:
    """A module of the package. Its ``__init__``, which needs torchvision, is not run."""
    spec = importlib.machinery.PathFinder.find_spec(PACKAGE)
    if spec is None:
        sys.exit('against_package.py: needs `pip install --no-deps segmentation-refinement`')
    package = types.ModuleType(PACKAGE)
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules.setdefault(PACKAGE, package)
    return importlib.import_module(f'{PACKAGE}.{name}')


@torch.no_grad()
def follow_mask(network: nn.Module) -> None:
    """Let one channel of the authors' network carry the coarse mask to the finest output."""
    for conv, source in (
        (network.feats.conv1, 3),
        (network.up_2.conv[2], 512),  # behind the block's own 512 channels: the stem's first
        (network.up_2.conv[5], 0),
        (network.up_3.conv[2], 0),
        (network.up_3.conv[5], 0),
        (network.final_11, 0),
    ):
        conv.weight[0] = 0
        conv.weight[0, source, conv.kernel_size[0] // 2, conv.kernel_size[1] // 2] = 1
        if conv.bias is not None:
            conv.bias[0] = 0
    for block in (network.up_2, network.up_3):
        for conv in (block.shortcut, block.conv2[5]):
            conv.weight[0], conv.bias[0] = 0, 0
    # From -1 and 1 to 0 and 2, which pass the ReLUs; back to -8 and 8 at the end.
    network.up_2.conv[0].bias[512] = 1
    network.final_21.weight[0, 0] = 8
    network.final_21.bias -= 8


class Package:
    """The authors' package, from the uint8 photo on, with torchvision's conversion written out."""

    def __init__(self, device: str, network: nn.Module | None = None, checkpoint=None) -> None:
        self.steps, self.device = authors_module('eval_helper'), device
        if network is None:
            torch.manual_seed(0)
            network = authors_module('models.psp.pspnet').RefinementModule().eval()
            if checkpoint:
                state = torch.load(checkpoint, map_location='cpu', weights_only=True)
                network.load_state_dict({k.removeprefix('module.'): v for k, v in state.items()})
            else:
                follow_mask(network)
            network.to(device)
        self.network = network

    def inputs(self, photo: np.ndarray, mask: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        image = torch.from_numpy(photo).permute(2, 0, 1).contiguous().float().div(255).clone()
        for channel, mean, std in zip(
            image, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), strict=True
        ):
            channel.sub_(mean).div_(std)
        signed = torch.from_numpy(mask)[None].float().sub_(0.5).div_(0.5)
        return image[None].to(self.device), signed[None].to(self.device)

    @torch.no_grad()
    def refine(self, photo: np.ndarray, mask: np.ndarray, fast: bool, L: int) -> np.ndarray:
        step = self.steps.process_im_single_pass if fast else self.steps.process_high_res_im
        output = step(self.network, *self.inputs(photo, mask), L)
        return (output[0, 0].cpu().numpy() * 255).astype(np.uint8)


class FreeOfPackage(nn.Module):
    """A network of the package that costs nothing. It counts its cascades."""

    cascades = 0

    def forward(self, image, mask, s8=None, s4=None) -> dict:
        self.cascades += 1
        return dict.fromkeys(('pred_224', 'pred_28_3', 'pred_56_2'), torch.sigmoid(5 * mask))


class Free(cascade.Network):
    """A network of this package that costs nothing. It counts its cascades."""

    cascades = 0

    def normalize(self, image: torch.Tensor) -> torch.Tensor:
        return image.float()

    def for_image(self, image: torch.Tensor) -> cascade.Passes:
        Free.cascades += len(image)  # of the class: a Refiner holds a copy
        return lambda masks, strides: dict.fromkeys(strides, 5 * masks[:, :1])


def count_crops(photo, mask, L: int, variant: str | None = None) -> int:
    """Crops that the Local step runs through the network."""
    if variant is None:
        network = FreeOfPackage()
        Package('cpu', network).refine(photo, mask, False, L)
        return network.cascades - 1
    crops = variant.split(':')[2]
    Free.cascades = 0
    refiner = Refiner(Free(), crops=crops, crop_filter=crop_filter(crops))
    refiner.refine(photo, mask, fast=False, L=L)
    return Free.cascades - 1


def crop_filter(crops: str) -> str:
    """The package's own rule for its own crops."""
    return 'release' if crops == 'uniform' else 'boundary'


def refiners(variants, package: Package, device: str) -> dict[str, Refiner]:
    """Variant -> refiner. Those of the paper's network have the weights of the package."""
    r50, _ = build_model('r50')
    r50.load_state_dict(convert_release_state_dict(package.network.state_dict()))
    r50.to(device)
    found = {}
    for variant in variants:
        model, precision, crops = variant.split(':')
        found[variant] = Refiner(
            r50 if model == 'r50' else model,
            device=device,
            precision=precision,
            crops=crops,
            crop_filter=crop_filter(crops),
        )
    return found


def line(size: str, name: str, runs: Runs, reference: Runs | None, note: str = '') -> None:
    ratio = ratios(reference, runs) if reference else ' ' * 6
    print(
        f'{size:>12}  {name:20}{runs.median:9.3f} s {1 / runs.median:8.2f}/s  {ratio:24}'
        f'{str(runs.memory):>12}  {note}',
        flush=True,
    )


def one_object(args, package: Package, ours: dict[str, Refiner], clock) -> None:
    print(
        f'one object, L={args.L}: median seconds, ratio to the package (range), peak memory, '
        "agreement of the paper's network"
    )
    warm_up = int(not args.no_warm_up)

    def measure(photo, mask, mode) -> dict[str, Runs]:
        fast = mode == 'fast'
        functions = {'package': lambda: package.refine(photo, mask, fast, args.L)}
        for name, refiner in ours.items():
            if not (fast and name.endswith('adaptive')):
                functions[name] = lambda refiner=refiner: refiner.refine(photo, mask, fast, args.L)
        return turn_about(functions, args.runs, warm_up, clock)

    parts = {}
    for size in args.sizes:
        photo, mask = waves(round(size * args.aspect), size)
        for mode in args.modes:
            label = f'{size} {mode}'
            if size <= args.measured_to:
                seen = measure(photo, mask, mode)
                for name, runs in seen.items():
                    note = ''
                    if name.startswith('r50'):
                        note = agreement(runs.result, seen['package'].result)
                    line(label, name, runs, seen['package'] if name != 'package' else None, note)
                continue
            if not parts:  # of a photo that is one crop
                square = waves(args.L, args.L)
                parts = {kind: measure(*square, kind) for kind in ('fast', 'full')}
            reference = None
            for name in ('package', *ours):
                if mode == 'fast' and name.endswith('adaptive'):
                    continue
                uniform = name.replace('adaptive', 'uniform')
                whole = parts['fast'].get(name) or parts['fast'].get(uniform)
                crops = 0
                if mode == 'full':
                    crops = count_crops(photo, mask, args.L, None if name == 'package' else name)
                if whole is None:
                    continue  # its Global step was measured in no variant
                runs = Runs(
                    [
                        a + crops * max(b - a, 0)
                        for a, b in zip(whole.seconds, parts['full'][name].seconds, strict=True)
                    ]
                )
                line(f'~{label}', name, runs, reference, f'{crops} crops' if crops else '')
                reference = reference or runs


def scene(args, package: Package, ours: dict[str, Refiner], clock) -> None:
    height, width = round(args.scene_size * args.aspect), args.scene_size
    photo, labels = waves(height, width)[0], discs(height, width, args.rois)
    regions = cascade.divide(labels)
    print(f'scene of {len(regions)} regions in {width}x{height}, Global step')

    @torch.no_grad()
    def one_at_a_time():
        for region in regions:
            box = region.box.slices
            image, mask = package.inputs(photo[box], region.mask)
            if max(mask.shape[-2:]) < 224:  # as the authors' script
                image = package.steps.resize_max_side(image, 224, 'bicubic')
                mask = package.steps.resize_max_side(mask, 224, 'bilinear')
            package.steps.safe_forward(package.network, image, mask)
        return labels

    functions = {'package': one_at_a_time}
    for name, refiner in ours.items():
        if name.endswith('uniform'):
            functions[name] = lambda refiner=refiner: refiner.refine_semantic(photo, labels)
    seen = turn_about(functions, args.runs, int(not args.no_warm_up), clock)
    for name, runs in seen.items():
        line(f'{len(regions)} ROIs', name, runs, seen['package'] if name != 'package' else None)


def memory(args) -> None:
    size = max(args.sizes)
    photo, mask = waves(size, size)
    print(f'memory, {size}x{size}, a network that costs nothing in both, full mode, L={args.L}')
    free = Refiner(Free(), crop_filter='release')
    peaks = {}
    for name, function in (
        ('package', lambda: Package('cpu', FreeOfPackage()).refine(photo, mask, False, args.L)),
        ('here', lambda: free.refine(photo, mask, fast=False, L=args.L)),
    ):
        with PeakMemory() as peaks[name]:
            result = function()
        print(
            f'{name:8} peak {peaks[name]} beyond photo and mask; foreground {result.mean():.2f}',
            flush=True,
        )
        del result
    if peaks['here'].host:
        print(f'ratio    {peaks["package"].host / peaks["here"].host:.2f}')


class _Bytes(TorchDispatchMode):
    """Bytes that operators read and write. Views do not count."""

    total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        known = {}
        read = [leaf for leaf in tree_leaves((args, kwargs)) if torch.is_tensor(leaf)]
        for leaf in read:
            known[leaf.untyped_storage()._cdata] = leaf
        made = [leaf for leaf in tree_leaves(result) if torch.is_tensor(leaf)]
        new = [leaf for leaf in made if leaf.untyped_storage()._cdata not in known]
        if new or func.__name__.split('.')[0].endswith('_'):
            self.total += sum(leaf.nbytes for leaf in (*read, *made))
        return result


def peak_flops(dtype: torch.dtype, device: str, side: int = 2048) -> float:
    a, b = (torch.randn(side, side).to(device, dtype) for _ in range(2))
    seen = turn_about({'': lambda: a @ b}, 5)['']
    return 2 * side**3 / min(seen.seconds)


def roofline(args, package: Package, ours: dict[str, Refiner], clock) -> None:
    side = args.L // 8 * 8
    print(f'roofline: the three passes of a cascade at {side}x{side}')
    image = torch.randn(1, 3, side, side, device=args.device)
    mask = torch.ones(1, 1, side, side, device=args.device)
    mask[..., : side // 2] = -1
    block = torch.empty(2**26, device=args.device)
    copy = min(turn_about({'': block.clone}, 5)[''].seconds)
    bandwidth = 2 * block.nbytes / copy
    peaks = {}
    for name, dtype in (('fp32', torch.float32), ('bf16', torch.bfloat16)):
        peaks[name] = peak_flops(dtype, args.device)
    print(
        f'matrix product {peaks["fp32"] / 1e9:.0f} GFLOP/s in fp32, {peaks["bf16"] / 1e9:.0f} '
        f'in bf16; copy {bandwidth / 1e9:.1f} GB/s'
    )
    functions = {'package': (lambda: package.network(image, mask), 'fp32')}
    for name, refiner in ours.items():
        _, precision, crops = name.split(':')
        if crops == 'uniform':
            low = refiner.settings()['precision'] == 'bfloat16'  # the whole network
            functions[name] = (
                lambda network=refiner.network: cascade.run_cascade(
                    network.for_image(image), mask, network.strides, final=(1,)
                ),
                'bf16' if low else 'fp32',
            )
    with torch.no_grad():
        for name, (function, precision) in functions.items():
            function()
            with FlopCounterMode(display=False) as flops, _Bytes() as moved:
                function()
            flops, moved = flops.get_total_flops(), moved.total
            seconds = min(turn_about({'': function}, args.runs, 0, clock)[''].seconds)
            bound = max(flops / peaks[precision], moved / bandwidth)
            print(
                f'{name:20}{flops / 1e9:9.1f} GFLOP {moved / 1e9:8.2f} GB: products '
                f'{flops / peaks[precision]:6.2f} s ({precision}), copies '
                f'{moved / bandwidth:6.2f} s, measured {seconds:6.2f} s, '
                f'{bound / seconds:.0%} of the speed that they allow',
                flush=True,
            )


def main() -> None:
    args = parse_args()
    torch.set_num_threads(args.threads)
    clock = time.perf_counter if args.clock == 'wall' else time.process_time
    print(
        f'torch {torch.__version__}, {args.device}, {args.threads} threads, {args.runs} runs '
        f'each, turn about, {args.clock} clock'
    )
    if set(args.parts) != {'memory'}:
        package = Package(args.device, checkpoint=args.checkpoint)
        ours = refiners(args.variants, package, args.device)
    for part in args.parts:
        if part == 'memory':
            memory(args)
        else:
            {'one': one_object, 'scene': scene, 'roofline': roofline}[part](
                args, package, ours, clock
            )


if __name__ == '__main__':
    main()
