"""Samples a second of a training's whole pipeline on one core, and what each transform takes.

    python benchmarks/loader.py --data-root my_photos
    python benchmarks/loader.py --data-root my_photos --config configs/cascadepsp_lite.py

One thread and its processor time, as a worker of the loader has. Photos that ``PasteObject`` draws
are counted where they are read. The first samples, which import and fill caches, are not counted.
"""

import argparse
import os
import random
import time
from collections import Counter

import cv2
import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope

import mmseg_cascadepsp  # noqa: F401 (registers everything)


class Times:
    """Processor time of each transform, without that of transforms within it."""

    def __init__(self) -> None:
        self.seconds, self.within = Counter(), [0.0]
        call = BaseTransform.__call__

        def timed(transform, results):
            self.within.append(0.0)
            start = time.process_time()
            found = call(transform, results)
            taken = time.process_time() - start
            self.seconds[type(transform).__name__] += taken - self.within.pop()
            self.within[-1] += taken
            return found

        BaseTransform.__call__ = timed


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--data-root', required=True, metavar='DIR', help='as for training')
    parser.add_argument('--config', default='configs/cascadepsp_lite_gpu.py')
    parser.add_argument('--count', type=int, default=1000, help='samples')
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args()
    os.environ['MMSEG_CASCADEPSP_DATA'] = args.data_root
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    random.seed(args.seed)
    np.random.seed(args.seed)
    init_default_scope('mmseg')
    dataset = DATASETS.build(Config.fromfile(args.config).train_dataloader.dataset)
    places = np.random.randint(len(dataset), size=args.count + 20)
    for place in places[:20]:
        dataset[int(place)]
    times, start = Times(), time.process_time()
    for place in places[20:]:
        sample = dataset[int(place)]
    total = time.process_time() - start
    height, width = sample['inputs'].shape[-2:]
    print(
        f'{args.count} samples of {width}x{height}, one core: {args.count / total:.0f} a second, '
        f'{1000 * total / args.count:.2f} ms each'
    )
    times.seconds['(datasets)'] = total - sum(times.seconds.values())
    for name, seconds in times.seconds.most_common():
        print(f'{name:24} {1000 * seconds / args.count:6.2f} ms {seconds / total:6.1%}')


if __name__ == '__main__':
    main()
