"""Requests that wait together: processor time of each when they run alone, and in one batch.

python benchmarks/serving.py --sides 224 448
"""

import argparse
import time

import cv2
import numpy as np

from mmseg_cascadepsp import Refiner
from mmseg_cascadepsp.apis import keep_freed_memory
from mmseg_cascadepsp.app.batches import MOST, Kind
from mmseg_cascadepsp.app.jobs import JobQueue
from mmseg_cascadepsp.files.samples import load_sample
from mmseg_cascadepsp.models.refiner.zoo import shipped_folder


class Together(Kind):
    """Requests that run together whatever their L is."""

    room = MOST


def seconds(queue, refiner, image, mask, kind):
    """Processor seconds of a request, of as many as may run together."""
    start = time.process_time()
    jobs = [
        queue.submit(lambda job: job.watch(refiner).refine(image, mask), kind)
        for _ in range(2 * MOST)
    ]
    for job in jobs:
        job.result()
    return (time.process_time() - start) / len(jobs)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--sides', type=int, nargs='+', default=[224, 448], help='photos, and L')
    parser.add_argument('--runs', type=int, default=3)
    args = parser.parse_args()
    keep_freed_memory()
    sample = load_sample('coffee', shipped_folder('demo') / 'masks')
    with JobQueue() as queue:
        for side in args.sides:
            refiner = Refiner('lite', L=side, steps='global')
            image = cv2.resize(sample.image, (side, side))
            mask = cv2.resize(sample.coarse.view(np.uint8) * 255, (side, side)) > 127
            kind = Together('lite', refiner.cascade, refiner.network.device)
            refiner.refine(image, mask)  # warm
            for _ in range(args.runs):  # alternating
                alone = seconds(queue, refiner, image, mask, None)
                together = seconds(queue, refiner, image, mask, kind)
                print(f'{side}: alone {alone * 1000:.0f} ms, together {together * 1000:.0f} ms')


if __name__ == '__main__':
    main()
