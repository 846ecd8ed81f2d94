"""Options of a refiner, declared once for the commands that have them."""

import argparse

PRECISIONS = ('auto', 'fp32', 'bf16', 'fp16')
_CASCADE = ('guided_filter', 'overview', 'region', 'crops', 'max_change', 'keep_accurate')


def add_refiner_options(group: argparse._ArgumentGroup, **model) -> None:
    """Add ``--checkpoint``, ``--device`` and ``--precision``, and before them ``--model``.

    Args:
        group: Where they are listed.
        model: What ``--model`` has besides or instead, such as ``nargs``.
    """
    about = {
        'default': 'lite',
        'help': "lite (shipped), r50 (the paper's), a config file or an exported refiner (.onnx) "
        '(default: lite)',
    }
    group.add_argument('--model', **{**about, **model})
    add_where_options(group)


def add_where_options(group: argparse._ArgumentGroup | argparse.ArgumentParser) -> None:
    """Add ``--checkpoint``, ``--device`` and ``--precision``."""
    group.add_argument('--checkpoint', metavar='FILE', help="weights, ours or the authors' own")
    group.add_argument('--device', help='cpu, cuda, cuda:1 ... (default: a GPU if there is one)')
    group.add_argument(
        '--precision',
        default='auto',
        choices=PRECISIONS,
        help='number format of the network, fp16 on GPUs alone (default: auto)',
    )


def add_reading_options(
    group: argparse._ArgumentGroup, of: str = 'the masks', void: str = 'void', exif: bool = True
) -> None:
    """Add ``--mask-values``, ``--ignore`` and ``--exif``, see
    :class:`~mmseg_cascadepsp.files.Reading`.

    Args:
        group: Where they are listed.
        of: The masks that are meant.
        void: What the value of ``--ignore`` stands for.
        exif: Whether there is ``--exif``.
    """
    group.add_argument(
        '--mask-values',
        '--label',
        type=mask_values,
        metavar='V',
        help=f'value of the object in {of}, or several (1,2), all others being background; '
        'soft: values are shares of 255 (default: as the masks say; what can be read in two ways '
        'is refused)',
    )
    group.add_argument(
        '--ignore', type=int, metavar='V', help=f'value of {void} in {of}, such as 255'
    )
    if exif:
        group.add_argument(
            '--exif',
            choices=('apply', 'ignore'),
            help='turn photos as their EXIF orientation says, or take the pixels as they are '
            'stored (default: apply, with a warning where the mask may have been made on stored '
            'pixels)',
        )


def add_ray_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--ray``."""
    parser.add_argument(
        '--ray',
        type=int,
        metavar='N',
        help='N workers of a Ray cluster, that of RAY_ADDRESS or one on this machine; on GPUs '
        'with --device cuda, one each',
    )


def mask_values(text: str) -> str | tuple[int, ...]:
    """What ``--mask-values`` gives."""
    from mmseg_cascadepsp.files.mask_values import parse_values

    return parse_values(text)


def add_cascade_options(group: argparse._ArgumentGroup) -> None:
    """Add settings of the cascade."""
    steps = group.add_mutually_exclusive_group()
    steps.add_argument(
        '--fast',
        action='store_const',
        const=True,
        help='Global step alone, for large photos too: quicker, less detail',
    )
    steps.add_argument(
        '--full',
        dest='fast',
        action='store_const',
        const=False,
        help="Local step for photos smaller than L too, as the authors' package",
    )
    group.add_argument(
        '--L',
        type=int,
        default=900,
        metavar='N',
        help='side of what the network sees at once, at least 66; smaller needs less memory '
        '(default: 900, as the paper)',
    )
    group.add_argument(
        '--guided-filter',
        action=argparse.BooleanOptionalAction,
        help='make the boundary follow the edges of the photo (default: as the model says)',
    )
    group.add_argument(
        '--region',
        choices=('auto', 'photo', 'object'),
        help='look at the whole photo, at a region around the object, or at regions where the '
        'object is small in a photo larger than L (default: auto)',
    )
    group.add_argument(
        '--overview',
        type=float,
        metavar='SHARE',
        help='look over the whole photo at this share of L first, to mend larger errors; 0: stay '
        'closer to the given mask (default: as the model says; lite: 0.5)',
    )
    group.add_argument(
        '--crops',
        choices=('uniform', 'adaptive'),
        help="crops of the Local step: the paper's grid, or as few as cover the boundary, several "
        'times quicker on large photos (default: uniform)',
    )
    group.add_argument(
        '--max-change',
        type=float,
        metavar='SHARE',
        help='keep a mask of which more than this share would change (1 - IoU), and say so '
        '(default: no bound)',
    )
    add_keep_option(group)


def add_keep_option(group: argparse._ArgumentGroup) -> None:
    """Add ``--keep-accurate``."""
    group.add_argument(
        '--keep-accurate',
        action=argparse.BooleanOptionalAction,
        help="keep a mask whose boundary lies on the photo's edges already, and say so (default: "
        'yes)',
    )


def cascade_settings(args: argparse.Namespace) -> dict:
    """The settings that a command line gives.

    Args:
        args: With the options of :func:`add_cascade_options`.

    Example:
        >>> parser = argparse.ArgumentParser()
        >>> add_cascade_options(parser.add_argument_group())
        >>> cascade_settings(parser.parse_args(['--fast', '--region', 'object']))
        {'region': 'object', 'steps': 'global', 'L': 900}
    """
    from mmseg_cascadepsp.cascade import call_settings

    given = {name: getattr(args, name) for name in _CASCADE}
    given = {name: value for name, value in given.items() if value is not None}
    return given | call_settings(args.fast, args.L)
