"""Wide 3x3 convolutions by Winograd, and as they are: one pass of each network, turn about.

OMP_NUM_THREADS=1 python benchmarks/winograd.py --side 448
"""

import argparse
import statistics
import time

import torch

from mmseg_cascadepsp.models.refiner.inference import FastNetwork
from mmseg_cascadepsp.models.refiner.zoo import build_model


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--side', type=int, default=448, help='of the square image')
    parser.add_argument('--runs', type=int, default=4)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    image = torch.randn(1, 3, args.side, args.side)
    masks = torch.randn_like(image).sign()
    for name in ('r50', 'lite'):
        model = build_model(name)[0].eval()
        ways = {
            'Winograd': FastNetwork(model, ('backbone', 'decode_head')),
            'plain': FastNetwork(model),
        }
        seconds = {way: [] for way in ways}
        with torch.no_grad():
            for turn in range(args.runs + 1):  # the first one warms up
                for way, network in ways.items():
                    start = time.process_time()
                    network.for_image(image)(masks, [8, 4, 1])
                    if turn:
                        seconds[way].append(time.process_time() - start)
        middle = {way: statistics.median(found) for way, found in seconds.items()}
        ratio = middle['plain'] / middle['Winograd']
        print(
            name,
            *(f'{way} {value:.2f} s of processor time,' for way, value in middle.items()),
            f'{ratio:.2f} times as fast',
        )


if __name__ == '__main__':
    main()
