"""Strategies by name, by config, or chosen by the classes."""

import inspect
from collections.abc import Mapping, Sequence

from mmseg.registry import TASK_UTILS

from mmseg_cascadepsp.errors import InvalidTypeError, InvalidValueError
from mmseg_cascadepsp.models.chain.classes import find_background, known_dataset
from mmseg_cascadepsp.models.chain.strategies import (
    BinaryStrategy,
    SceneParsingStrategy,
    SemanticStrategy,
    Strategy,
)

#: Name on command lines and in ``Refiner.refine_semantic`` -> strategy.
STRATEGIES = {
    'scene': SceneParsingStrategy,
    'semantic': SemanticStrategy,
    'binary': BinaryStrategy,
}


def choose_strategy(
    classes: Sequence[str] | None = None, num_classes: int | None = None
) -> tuple[str, str]:
    """The rule behind ``'auto'``.

    Args:
        classes: names of the classes.
        num_classes: their number, where names are not known.

    Returns:
        Name of a strategy, and the reason as a sentence.

    Example:
        >>> choose_strategy(['background', 'vessel'])[0]
        'binary'
        >>> choose_strategy(['background', 'cat', 'dog'])[0]
        'semantic'
        >>> choose_strategy(['road', 'car', 'sky'])[0]
        'scene'
    """
    number = len(classes) if classes is not None else num_classes
    background = find_background(classes)
    dataset = known_dataset(classes)
    if number == 1 or (number == 2 and (classes is None or background is not None)):
        return 'binary', 'there is one foreground class.'
    if dataset is not None:
        return 'scene', f'these are the classes of the scene parsing set {dataset}.'
    if background is not None:
        return 'semantic', (
            f'the other {number - 1} classes stand before class {background}, '
            f'{classes[background]!r}.'
        )
    count = 'the classes are not known' if number is None else f'there are {number} classes'
    if classes is not None:
        return 'scene', f'{count} and none is the background.'
    return 'scene', f'{count}; names (classes=, or RefinedResultsHook in a config) may say more.'


def build_strategy(
    strategy: str | Mapping | Strategy = 'auto',
    classes: Sequence[str] | None = None,
    num_classes: int | None = None,
) -> Strategy:
    """A strategy from its name, config, or the classes.

    Args:
        strategy: ``'scene'``, ``'semantic'``, ``'binary'``, ``'auto'`` (see
            :func:`choose_strategy`; ``str()`` of the result tells the reason), a config whose
            ``type`` is one of these names or a class of ``TASK_UTILS``, or a strategy, returned as
            it is.
        classes, num_classes: see :func:`choose_strategy`.

    Raises:
        ValueError: an unknown name.
        TypeError: unknown settings, or something else than the above.
    """
    if isinstance(strategy, str):
        strategy = {'type': strategy}
    if not isinstance(strategy, Mapping):
        if callable(getattr(strategy, 'refine', None)) and not isinstance(strategy, type):
            return strategy
        raise InvalidTypeError(
            'strategy must be a name, a config or an object with refine(), got '
            f'{type(strategy).__name__}.'
        )
    settings = dict(strategy)
    kind = settings.pop('type', 'auto')
    if kind == 'auto':
        kind, settings['reason'] = choose_strategy(classes, num_classes)
    return known_strategy(dict(settings, type=kind))(**settings)


def known_strategy(strategy: str | Mapping) -> type[Strategy] | None:
    """The class that a name or a config of a strategy means, before the data's classes are known;
    None for ``'auto'``.

    Raises:
        ValueError: an unknown name.
        TypeError: settings that the class does not have.
    """
    settings = {'type': strategy} if isinstance(strategy, str) else dict(strategy)
    kind = settings.pop('type', 'auto')
    if kind == 'auto':
        return None
    known = STRATEGIES.get(kind, kind)
    if isinstance(known, str):
        known = TASK_UTILS.get(known)
    if known is None:
        raise InvalidValueError(
            f"strategy must be 'auto', {', '.join(map(repr, STRATEGIES))} or the "
            f'name of a class in TASK_UTILS, got {kind!r}.'
        )
    own = inspect.signature(known).parameters
    unknown = [] if any(p.kind == p.VAR_KEYWORD for p in own.values()) else settings.keys() - own
    if unknown:
        raise InvalidTypeError(
            f'strategy {kind!r} has no setting {", ".join(sorted(unknown))}; it has '
            f'{", ".join(own)}.'
        )
    return known
