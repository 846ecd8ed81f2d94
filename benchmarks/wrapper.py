"""What RefinedSegmentor adds to the time of its segmentor and its refiner.

The same photos go through the segmentor alone, through the strategy alone on its label maps, and
through the wrapper, turn about. The overhead is the wrapper's time over the sum of the other two.
"""

import argparse
import statistics
import time
from pathlib import Path

import mmcv
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose

import mmseg_cascadepsp  # noqa: F401  first: MMSeg then imports without mmcv's operators

# isort: split
from mmseg.apis import init_model

from mmseg_cascadepsp.models.chain import build_strategy
from mmseg_cascadepsp.models.chain.building import as_network
from mmseg_cascadepsp.models.refiner.zoo import find_config

CONFIG = 'deeplabv3plus_refined_persons-cats-horses.py'


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--config', help=f'config of a RefinedSegmentor ({CONFIG})')
    parser.add_argument('--checkpoint', help="the segmentor's weights (those of the config)")
    parser.add_argument('--photos', nargs='*', default=[], help='files (two of scikit-image)')
    parser.add_argument('--runs', type=int, default=7, help='rounds per photo (%(default)s)')
    parser.add_argument('--device', default='cpu')
    return parser.parse_args()


def photos(paths: list[str]) -> dict[str, np.ndarray]:
    """Name -> BGR picture."""
    if paths:
        return {Path(path).name: mmcv.imread(path) for path in paths}
    from skimage import data

    return {name: getattr(data, name)()[..., ::-1].copy() for name in ('astronaut', 'chelsea')}


def timed(function, *args):
    """(seconds, result)."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    start = time.perf_counter()
    result = function(*args)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start, result


@torch.inference_mode()
def main() -> None:
    args = parse_args()
    cfg = Config.fromfile(args.config or find_config(CONFIG))
    model = init_model(cfg, args.checkpoint or cfg.load_from, device=args.device)
    classes = model.dataset_meta['classes']
    strategy = build_strategy(cfg.model.strategy, classes=classes, num_classes=len(classes))

    network = as_network(model.refiner, cfg.model.get('precision', 'auto'))

    def refine(image, labels):
        return strategy.refine(network, image, labels, classes=classes, ignore_index=255)

    steps = [dict(step) for step in cfg.test_pipeline if step['type'] != 'LoadAnnotations']
    steps[0]['type'] = 'mmseg.LoadImageFromNDArray'
    pipeline = Compose(steps)
    print(f'{"photo":24}{"segmentor":>11}{"refiner":>11}{"both":>11}{"overhead":>11}')
    for name, photo in photos(args.photos).items():

        def data(photo=photo):
            packed = pipeline(dict(img=photo, ori_img=photo))
            return {key: [value] for key, value in packed.items()}

        coarse = model.segmentor.test_step(data())[0].pred_sem_seg.data[0].cpu().numpy()
        image = torch.from_numpy(np.ascontiguousarray(photo[..., ::-1])).permute(2, 0, 1)
        times = {key: [] for key in ('segmentor', 'refiner', 'both')}
        for _ in range(args.runs + 1):
            times['segmentor'].append(timed(model.segmentor.test_step, data())[0])
            times['refiner'].append(timed(refine, image, coarse)[0])
            times['both'].append(timed(model.test_step, data())[0])
        # The first round warms up.
        medians = {key: statistics.median(values[1:]) for key, values in times.items()}
        overhead = medians['both'] / (medians['segmentor'] + medians['refiner']) - 1
        print(
            f'{name:24}'
            + ''.join(f'{medians[key]:10.3f}s' for key in times)
            + f'{100 * overhead:+10.1f}%'
        )


if __name__ == '__main__':
    main()
