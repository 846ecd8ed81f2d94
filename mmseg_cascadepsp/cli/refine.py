"""Sharpen coarse masks: one photo and its mask, or two folders of the same names."""

import argparse
import sys
from pathlib import Path

from mmseg_cascadepsp.errors import InvalidValueError

from .options import (
    add_cascade_options,
    add_ray_option,
    add_reading_options,
    add_refiner_options,
    cascade_settings,
)
from .running import command_digest, import_package, parser_of

EPILOG = """\
examples:
  one photo (mask_refined.png beside mask.png), and with a picture of before and after:
    python tools/refine.py photo.jpg mask.png
    python tools/refine.py photo.jpg mask.png -o out.png --before-after

  the mask of a network that gives 512 x 512, a cut-out with an alpha channel, an object of a
  label map, and a label map as a whole:
    python tools/refine.py photo.jpg mask.png --resize-mask
    python tools/refine.py cutout.png
    python tools/refine.py photo.jpg labels.png --label 3
    python tools/refine.py photo.jpg labels.png --label-map

  two folders, photos/a.jpg with masks/a.png and so on (out/a.png, out/overlay/a.jpg);
  run the same command again after an interruption, and it goes on where it stopped:
    python tools/refine.py photos masks -o out --overlay

  a quick look at large photos (Global step alone), and full detail with less memory:
    python tools/refine.py photos masks -o quick --fast
    python tools/refine.py photos masks -o sharp --L 500

  the paper's network with the authors' weights, or a refiner that you trained:
    python tools/refine.py photos masks -o out --model r50
    python tools/refine.py photos masks -o out --model my_config.py --checkpoint iter_3000.pth

  a huge photo by rows, in little memory, with the photo's georeferencing:
    python tools/refine.py orthophoto.tif mask.tif -o sharp.tif --crops adaptive

  several processes, or GPUs:
    torchrun --nproc-per-node 4 tools/refine.py photos masks -o out
    python tools/refine.py photos masks -o out --ray 16

masks may be 0/255, 0/1, 1-bit, 16-bit, palette or transparent PNG, or greyscale JPEG; one object
each. Results are PNG, 0 and 255, of the photo's size; of a single pair .tif, .npy, .jpg, too."""


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = parser_of(__doc__, EPILOG)
    parser.add_argument('image', help='photo, or folder of photos (subfolders too)')
    parser.add_argument(
        'mask',
        nargs='?',
        help='its coarse mask, or folder of masks with the same stems (may be left out for a '
        'cut-out, whose alpha channel is its mask)',
    )
    parser.add_argument(
        '-o',
        '--out',
        help='PNG (or TIFF, .npy, .jpg) file, or folder (default: MASK_refined beside the mask)',
    )
    more = parser.add_argument_group('what is written besides the mask')
    more.add_argument('--probability', action='store_true', help='255 times the probability, PNG')
    more.add_argument('--overlay', action='store_true', help='photo with the tinted mask, JPEG')
    more.add_argument(
        '--before-after',
        action='store_true',
        help='coarse and refined side by side, the most changed place enlarged, JPEG',
    )
    more.add_argument(
        '--contact-sheet',
        action='store_true',
        help='a sheet of small pictures before and after, contact_sheet.jpg in the folder',
    )
    how = parser.add_argument_group('how masks are refined')
    add_cascade_options(how)
    how.add_argument(
        '--windowed',
        action='store_const',
        const=True,
        help='read, refine and write by rows, in little memory: TIFF and .npy (by default photos '
        'of more than 100 megapixels)',
    )
    how.add_argument(
        '--threshold',
        type=float,
        default=0.5,
        metavar='P',
        help='probability above which a pixel is object (default: 0.5)',
    )
    add_refiner_options(how)
    what = parser.add_argument_group('how files are read where they do not say it themselves')
    what.add_argument(
        '--resize-mask',
        action='store_true',
        help='bring masks of another size, such as 512 x 512 of a network, to that of the photo',
    )
    what.add_argument(
        '--label-map',
        action='store_true',
        help='masks are label maps: refine all their classes at once, and write label maps; void '
        'is 255, or --ignore',
    )
    add_reading_options(what)
    add_ray_option(parser)
    parser.add_argument(
        '--overwrite', action='store_true', help='make outputs anew that are there already'
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    args = build_parser().parse_args(argv)
    from mmseg_cascadepsp.files import pairs
    from mmseg_cascadepsp.files.run_options import EXTRAS, RunOptions

    if args.mask is None and Path(args.image).is_dir():
        raise InvalidValueError(
            f'mask is missing: image {args.image} is a folder; give the folder of its masks.'
        )
    masks = args.mask or args.image
    pairs.check_inputs(args.image, masks)
    paths = (args.image, masks, args.out or pairs.default_out(masks))
    options = {
        'threshold': args.threshold,
        'extras': [kind for kind in EXTRAS if getattr(args, kind)],
        'windowed': args.windowed,
        'overwrite': args.overwrite,
        'mask_values': args.mask_values,
        'ignore': args.ignore,
        'exif': args.exif,
        'resize_mask': args.resize_mask,
        'label_map': args.label_map,
    }
    run_options = RunOptions(**options)
    # Wrong arguments have been told. PyTorch, which takes seconds, is imported from here on.
    from rich.console import Console

    from mmseg_cascadepsp.files import folder_run
    from mmseg_cascadepsp.files.contact_sheet import write_contact_sheet

    names = ('model', 'checkpoint', 'device', 'precision')
    refiner = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    refiner |= cascade_settings(args)

    def make():
        import_package()
        from mmseg_cascadepsp import apis

        apis.keep_freed_memory()
        return apis.Refiner(**refiner)

    rank = 0
    try:
        if args.ray is not None:
            import_package()
            from mmseg_cascadepsp import apis

            gpus = int((args.device or '').startswith('cuda'))
            report = apis.refine_files_with_ray(
                refiner, *paths, workers=args.ray, gpus=gpus, **options
            )
            for name, sentence in report.failed.items():
                print(f'failed {name}: {sentence}', file=sys.stderr)
        else:
            import torch

            rank, _ = folder_run.join_processes()
            left_out = ('image', 'mask', 'out', 'overwrite', 'ray', 'contact_sheet')
            digest = command_digest(args, left_out, torch.cuda.is_available())
            console = Console(stderr=True, soft_wrap=True)
            report = folder_run.refine_files(
                make, *paths, console=console, asked=digest, **options
            )
    except KeyboardInterrupt:
        print('interrupted; the same command goes on where it stopped.', file=sys.stderr)
        return 130
    if rank:  # the first process tells
        return 0
    if args.contact_sheet:
        sheet = write_contact_sheet(pairs.find_pairs(*paths)[0], run_options)
        print(f'contact sheet: {sheet}')
    print(f'{report}: {paths[2]}')
    return 1 if report.failed else 0
