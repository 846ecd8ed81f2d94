"""What ``test`` does with a config: a refiner behind its model, stored predictions, test sets."""

import os
import os.path as osp
from collections.abc import Mapping

from mmengine.config import Config
from mmengine.logging import print_log
from prettytable import PrettyTable

from mmseg_cascadepsp.engine import fetch, prepare_processes
from mmseg_cascadepsp.errors import InvalidValueError, MissingFileError

from .configs import QuietRunner, inner_datasets, type_of
from .data import choose_root, missing_of

BEFORE_AND_AFTER = ('BoundarySegMetric', 'RefinementMetric')
OF_TRAINING = (
    'train_cfg', 'train_dataloader', 'optim_wrapper', 'param_scheduler',
    'val_cfg', 'val_dataloader', 'val_evaluator',
)  # fmt: skip
DATA_HELP = 'docs/chaining.md says what to download and where to put it'


def is_chained(cfg: Config) -> bool:
    """Whether the config's model has a refiner behind it."""
    return type_of(cfg.model) == 'RefinedSegmentor'


def chain(
    cfg: Config,
    refiner: str | Mapping | None = None,
    refiner_checkpoint: str | None = None,
    strategy: str | Mapping | None = None,
    precision: str | None = None,
) -> Config:
    """Put a refiner behind the model of any MMSeg config, and measure before and after.

    A model that has one already gets what is given here in the place of its own.

    Args:
        cfg: The config, changed in place.
        refiner, refiner_checkpoint, strategy, precision: See
            :class:`~mmseg_cascadepsp.models.RefinedSegmentor`. None: its defaults.

    Returns:
        ``cfg``.
    """
    options = dict(
        refiner=refiner,
        refiner_checkpoint=refiner_checkpoint,
        strategy=strategy,
        precision=precision,
    )
    options = {key: value for key, value in options.items() if value is not None}
    if not is_chained(cfg):
        cfg.model = dict(type='mmseg.RefinedSegmentor', segmentor=cfg.model)
    elif refiner is not None:
        cfg.model.pop('refiner_checkpoint', None)
    cfg.model.update(options)
    hooks = cfg.get('custom_hooks') or []
    if not any(type_of(hook) == 'RefinedResultsHook' for hook in hooks):
        cfg.custom_hooks = [*hooks, dict(type='mmseg.RefinedResultsHook')]
    _measure_before_and_after(cfg)
    return cfg


def _measure_before_and_after(cfg: Config) -> None:
    evaluator = cfg.get('test_evaluator') or []
    whole = isinstance(evaluator, Mapping) and 'metrics' in evaluator  # an Evaluator of one's own
    metrics = evaluator.metrics if whole else evaluator
    metrics = list(metrics) if isinstance(metrics, (list, tuple)) else [metrics]
    without_truth = any(metric.get('format_only') for metric in metrics)
    if without_truth or any(type_of(metric) in BEFORE_AND_AFTER for metric in metrics):
        return
    added = dict(type='mmseg.BoundarySegMetric', prefix='refinement')
    given = [metric.ignore_index for metric in metrics if 'ignore_index' in metric]
    if given:  # else it is that of the dataset
        added['ignore_index'] = given[0]
    metrics.append(added)
    if whole:
        evaluator.metrics = metrics
    else:
        cfg.test_evaluator = metrics


def use_stored_predictions(cfg: Config, pred_dir: str, ids: str = 'dataset', **reading) -> Config:
    """Let predictions in a folder take the place of a chained config's segmentor, see
    :class:`~mmseg_cascadepsp.models.StoredPredictions`, which also has ``reading``.
    """
    segmentor = cfg.model.segmentor  # may be the name of a config file
    own = segmentor.get('data_preprocessor') if isinstance(segmentor, Mapping) else None
    preprocessor = own or cfg.get('data_preprocessor')
    cfg.model.segmentor = dict(
        type='mmseg.StoredPredictions', pred_dir=pred_dir, ids=ids, **reading
    )
    if preprocessor is not None and 'type' in preprocessor:
        cfg.model.segmentor.data_preprocessor = preprocessor
    cfg.model.enlarge = 'logits'  # files have the photo's size already
    cfg.model.pop('checkpoint', None)
    cfg.load_from = None
    return cfg


def use_tta(cfg: Config) -> Config:
    """Test with the augmentations of a config. A refiner runs once, on their average.

    Args:
        cfg: The config, changed in place.

    Returns:
        ``cfg``.

    Raises:
        InvalidValueError: The config has none.
    """
    if not cfg.get('tta_pipeline'):
        raise InvalidValueError(
            f'--tta: {cfg.filename} has no tta_pipeline, which says what to average over; those '
            "of MMSegmentation's configs/_base_/datasets can be copied"
        )
    for dataset in inner_datasets(cfg.test_dataloader.dataset):
        dataset['pipeline'] = cfg.tta_pipeline
    tta = dict(cfg.get('tta_model') or dict(type='mmseg.SegTTAModel'))
    if is_chained(cfg):
        tta = dict(type='mmseg.RefinedSegTTAModel')
    cfg.model = dict(tta, module=cfg.model)
    return cfg


def write_results(cfg: Config, out_dir: str | None = None, show_dir: str | None = None) -> Config:
    """Have label maps and pictures written, see
    :class:`~mmseg_cascadepsp.engine.RefinedResultsHook`.
    """
    if show_dir and not is_chained(cfg):  # nothing was refined: MMSeg's own pictures
        draw_pictures(cfg)
        cfg.visualizer.update(save_dir=show_dir)
        if 'vis_backends' not in cfg.visualizer:
            cfg.visualizer.vis_backends = [dict(type='mmseg.LocalVisBackend')]
        show_dir = None
    hooks = [
        hook for hook in cfg.get('custom_hooks') or () if type_of(hook) != 'RefinedResultsHook'
    ]
    hook = dict(type='mmseg.RefinedResultsHook', out_dir=out_dir, show_dir=show_dir)
    cfg.custom_hooks = [*hooks, hook]
    return cfg


def check_data(cfg: Config, data_root: str | None = None) -> None:
    """See that the test set is there.

    Args:
        cfg: The config.
        data_root: Taken in the place of the config's.

    Raises:
        MissingFileError: It is not. The sentence says what to put where.
        InvalidValueError: The config has no test set, one of an unknown type, or several and
            ``data_root``.
    """
    dataset = (cfg.get('test_dataloader') or {}).get('dataset')
    if dataset is None:
        raise InvalidValueError(
            f'{cfg.filename} has no test_dataloader, so there is nothing to test on'
        )
    inner = list(inner_datasets(dataset))
    if data_root is not None:
        if len(inner) > 1:
            raise InvalidValueError(
                f'--data-root: {cfg.filename} tests on {len(inner)} sets; change the data_root of '
                'each by --cfg-options'
            )
        usual = osp.basename(osp.normpath(inner[0].get('data_root') or ''))
        inner[0].data_root = choose_root(inner[0], data_root, osp.join(data_root, usual))
    for dataset in inner:
        missing = missing_of(dataset, dataset.get('data_root'))
        if missing:
            raise MissingFileError(
                f'the test set is not there: {missing[0]} is missing; '
                f'{cfg.get("data_help", DATA_HELP)}, or name your folder with --data-root'
            )


def find_checkpoint(cfg: Config, checkpoint: str | None = None) -> str | None:
    """Find the weights of the segmentor. Addresses are fetched into PyTorch's cache.

    Args:
        cfg: The config.
        checkpoint: What was given. None: that of the config.

    Returns:
        The path. None if the model loads its own weights.

    Raises:
        InvalidValueError: Neither names one.
        FileError: It is not there or cannot be fetched. The sentence says what to put where.
    """
    model = cfg.model.get('module', cfg.model)
    if checkpoint is None and model.get('checkpoint') is not None:
        return None  # the model loads its own
    checkpoint = cfg.get('load_from') if checkpoint is None else checkpoint
    if checkpoint == '':
        raise InvalidValueError(
            "checkpoint is '', which names no file; a variable of the shell may not be set"
        )
    if checkpoint is None:
        raise InvalidValueError(
            f'checkpoint: {cfg.filename} names none in load_from, so give one behind '
            'the config: python tools/test.py CONFIG CHECKPOINT'
        )
    if checkpoint.startswith(('http://', 'https://')):
        return str(fetch(checkpoint))
    if '://' not in checkpoint and not osp.isfile(checkpoint):
        raise MissingFileError(f'checkpoint: there is no file {checkpoint}')
    return checkpoint


def before_and_after(metrics: Mapping[str, float]) -> str:
    """A table of the metrics that come as ``NAME_before`` and ``NAME``.

    Args:
        metrics: Of a test, by name.

    Example:
        >>> print(before_and_after({'mBA': 57.25, 'mBA_before': 55.5}))
        +-----+--------+-------+------------+
        |     | before | after | difference |
        +-----+--------+-------+------------+
        | mBA | 55.50  | 57.25 |   +1.75    |
        +-----+--------+-------+------------+
    """
    table = PrettyTable(['', 'before', 'after', 'difference'])
    for name, after in metrics.items():
        before = metrics.get(f'{name}_before')
        if before is not None:
            values = f'{before:.2f}', f'{after:.2f}', f'{after - before:+.2f}'
            table.add_row([name.rpartition('/')[2], *values])
    return table.get_string() if table.rows else ''


def run_test(cfg) -> dict[str, float]:
    """Test as the config says and print what was before and after.

    Returns:
        All metrics by name.
    """
    for name in OF_TRAINING:  # MMEngine would build it, data and all, to ask for its iteration
        cfg[name] = None
    prepare_processes(cfg)
    os.makedirs(cfg.work_dir, exist_ok=True)
    metrics = QuietRunner.from_cfg(cfg).test()
    table = before_and_after(metrics)
    if table:
        print_log(f'before and after refinement:\n{table}', logger='current')
    return metrics


def draw_pictures(cfg: Config, **options) -> None:
    """Let MMSegmentation's own hook draw each photo. A hook and a visualizer are added to a config
    that has none.

    Args:
        cfg: The config, changed in place.
        options: Other settings of ``SegVisualizationHook``.
    """
    if cfg.get('visualizer') is None:
        cfg.visualizer = dict(type='mmseg.SegLocalVisualizer')
    if cfg.get('default_hooks') is None:
        cfg.default_hooks = dict()
    if cfg.default_hooks.get('visualization') is None:
        cfg.default_hooks.visualization = dict(type='mmseg.SegVisualizationHook')
    cfg.default_hooks.visualization.update(draw=True, interval=1, **options)
