"""Train and measure the paper's ablations (Tables 1 and 2) with the small refiner.

    python benchmarks/ablations.py --data-root my_photos
    python benchmarks/ablations.py --data-root my_photos --only final,os1_only --markdown table.md

The data root holds train/, and val/<set>/{images,masks,coarse_*} to measure on. What is finished
is kept, so a run that was stopped can be started again. The paper's figures stand beside ours for
their direction only: its network, its data and its test sets (PASCAL VOC 2012 relabelled in
Table 1, BIG val in Table 2, masks of DeepLabV3+) are different.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config, DictAction
from rich.console import Console
from rich.progress import Progress

from mmseg_cascadepsp import Refiner
from mmseg_cascadepsp.cascade import refine
from mmseg_cascadepsp.evaluation import folders
from mmseg_cascadepsp.files.paths import atomic_open

ROOT = Path(__file__).resolve().parents[1]
FINAL = 'final'
#: Table -> config -> what the paper calls it, and its gains of IoU and mBA.
TABLES = {
    1: {
        'plain_fcn': ('Vanilla FCN', 1.33, 8.70),
        'os1_only': ('With OS1 only', 1.63, 9.81),
        'os8_os1': ('With OS8 & OS1 only', 1.72, 10.2),
        'ce_only': ('CE loss only', 1.60, 9.39),
        'l1l2_only': ('L1+L2 loss only', 1.61, 9.39),
        'without_gradient': ('CE and L1+L2 loss only', 1.71, 9.68),
        FINAL: ('Ours - final', 1.88, 10.4),
    },
    2: {
        'global_only': ('Global step only', 2.21, 12.2),
        'local_only': ('Local step only', 1.70, 12.1),
        FINAL: ('Both steps', 2.36, 14.7),
    },
}


def read_config(name: str, options: dict) -> Config:
    cfg = Config.fromfile(ROOT / f'configs/ablations/{name}.py')
    cfg.merge_from_dict(options)
    return cfg


def train(name: str, args: argparse.Namespace) -> Path:
    """Train, or go on, or see that it is done. Returns the last checkpoint."""
    work_dir = args.work_dir / name
    last = work_dir / f'iter_{read_config(name, args.cfg_options).train_cfg.max_iters}.pth'
    if not last.exists():
        print(f'training {name}', file=sys.stderr, flush=True)
        options = [f'{key}={value}'.replace(' ', '') for key, value in args.cfg_options.items()]
        command = [
            sys.executable, ROOT / 'tools/train.py', ROOT / f'configs/ablations/{name}.py',
            '--data-root', args.data_root, '--work-dir', work_dir, '--seed', str(args.seed),
            '--resume', *(['--cfg-options', *options] if options else []),
        ]  # fmt: skip
        if subprocess.run(list(map(str, command))).returncode:
            sys.exit(
                f'ablations.py: the training of {name} failed, see above; start this again '
                'to go on from its last checkpoint'
            )
    return last


@torch.inference_mode()
def measure(name: str, weights: Path, settings: dict, args: argparse.Namespace) -> list[dict]:
    """Rows of all sets together, one for each kind of coarse masks, kept beside the weights."""
    key = dict(settings, every=args.every, weights=weights.name)
    label = '-'.join([name, *(f'{k}{v}' for k, v in sorted(settings.items()))])
    path = args.work_dir / f'{label}.json'
    if path.exists():
        stored = json.loads(path.read_text())
        if stored['key'] == key and path.stat().st_mtime >= weights.stat().st_mtime:
            return stored['rows']
    cfg = read_config(name, args.cfg_options)
    options = {**(cfg.model.get('test_cfg') or {}), **settings}
    threshold = options.pop('threshold', 0.5)
    refiner = Refiner(cfg, weights, precision='fp32', **options)

    def method(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
        photo, coarse = torch.from_numpy(image).permute(2, 0, 1), torch.from_numpy(mask)[None]
        return (refine(refiner.network, photo, coarse) > threshold).numpy()

    examples = folders.find_sets(args.data_root)[:: args.every]
    records = []
    with Progress(console=Console(stderr=True)) as progress:
        for example in progress.track(examples, description=f'measuring {label}'):
            records += folders.measure(example, {name: method})
    rows = [row for row in folders.summarise(records) if row['set'] == folders.POOLED]
    with atomic_open(path) as file:
        file.write(json.dumps(dict(key=key, rows=rows)).encode())
    return rows


def table(number: int, found: dict[str, list[dict]], head: str) -> str:
    """Markdown: gains of IoU and mBA, the paper's and those found, per kind of coarse masks."""
    columns = {
        row['kind']: f'{row["kind"]}, {row["n"]} masks of IoU {row["IoU_before"]:.2f}, '
        f'mBA {row["mBA_before"]:.2f}'
        for rows in found.values()
        for row in rows
    }
    lines = [
        f'Table {number}: {head}',
        '',
        '| | paper | ' + ' | '.join(columns.values()) + ' |',
        '|---|---|' + '---|' * len(columns),
    ]
    for name, rows in found.items():
        title, *gains = TABLES[number][name]
        kinds = {row['kind']: row for row in rows}
        cells = [gains, *([kinds[kind]['IoU_gain'], kinds[kind]['mBA_gain']] for kind in columns)]
        lines.append(
            f'| {title} (`{name}`) | '
            + ' | '.join('{:+.2f} / {:+.2f}'.format(*cell) for cell in cells)
            + ' |'
        )
    return '\n'.join(lines)


def check_settings(work_dir: Path, settings: dict, parser: argparse.ArgumentParser) -> None:
    """Refuse a folder whose trainings have other settings. They would be taken for these."""
    path = work_dir / 'settings.json'
    if path.exists() and any(work_dir.glob('*/iter_*.pth')):
        older = json.loads(path.read_text())
        if older != settings:
            parser.error(
                f'--work-dir: {work_dir} holds ablations with other settings, {older}; '
                'give another folder'
            )
        return
    work_dir.mkdir(parents=True, exist_ok=True)
    with atomic_open(path) as file:
        file.write(json.dumps(settings).encode())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--data-root', type=Path, required=True)
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/ablations'))
    names = list(dict.fromkeys(name for rows in TABLES.values() for name in rows))
    parser.add_argument(
        '--only', default=','.join(names), metavar='NAME,...', help='some of ' + ', '.join(names)
    )
    parser.add_argument(
        '--L',
        type=int,
        default=224,
        help='of Table 2: small, so that photos are larger (default: 224)',
    )
    parser.add_argument(
        '--every', type=int, default=1, metavar='N', help='measure every N-th coarse mask alone'
    )
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--markdown', help='also write the tables to this file')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        default={},
        metavar='KEY=VALUE',
        help='change settings of all configs',
    )
    args = parser.parse_args()
    wanted = args.only.split(',')
    unknown = [name for name in wanted if name not in names]
    if unknown:
        parser.error(f'--only: there is no {unknown[0]!r} among {", ".join(names)}')
    for name in wanted:
        read_config(name, args.cfg_options)  # its error, before the folder is bound to settings
    for folder in (args.data_root / 'train', args.data_root / 'val'):
        if not folder.is_dir():
            parser.error(f'--data-root: there is no folder {folder}')
    check_settings(args.work_dir, dict(
        seed=args.seed, data_root=str(args.data_root.resolve()),
        cfg_options={key: str(value) for key, value in sorted(args.cfg_options.items())},
    ), parser)  # fmt: skip
    texts = []
    for number, rows in TABLES.items():
        settings = dict(L=args.L) if number == 2 else {}
        found = {}
        for name in rows:
            if name in wanted:
                # The steps of Table 2 are those of one and the same network.
                weights = train(FINAL if number == 2 else name, args)
                found[name] = measure(name, weights, settings, args)
        if found:
            head = 'gains of IoU / mBA' + ''.join(f', {k}={v}' for k, v in settings.items())
            texts.append(table(number, found, head))
    text = '\n\n'.join(texts)
    print(text)
    if args.markdown:
        with atomic_open(args.markdown) as file:
            file.write(f'{text}\n'.encode())


if __name__ == '__main__':
    main()
