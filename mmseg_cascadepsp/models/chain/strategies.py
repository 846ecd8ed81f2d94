"""Strategies that split a label map into masks, refine them and fuse the results.

A strategy holds the settings and knows classes by name. :mod:`mmseg_cascadepsp.cascade` does the
work.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields

import numpy as np
from mmseg.registry import TASK_UTILS
from torch import Tensor

from mmseg_cascadepsp.cascade import (
    CascadeSettings,
    FusionSettings,
    Network,
    Progress,
    SceneResult,
    refine_classes,
    refine_scene,
)
from mmseg_cascadepsp.errors import InvalidTypeError, InvalidValueError
from mmseg_cascadepsp.models.refiner.cascade_psp import refuse_renamed

from .classes import check_classes, class_id, find_background, known_dataset, stuff_ids

#: Settings of the fusion that a strategy derives from the classes.
FOUND = {'stuff', 'background', 'keep', 'ignore_index', 'num_classes'}
FUSION = [field.name for field in fields(FusionSettings) if field.name not in FOUND]
#: ``compat`` is given to both. ``batch_size`` is the number of regions, not of crops.
CASCADE = [field.name for field in fields(CascadeSettings) if field.name not in FUSION]


class Strategy(ABC):
    """Base class of all strategies.

    Args:
        stuff: Classes behind objects. Their probability is attenuated so that objects win. Give
            ids or names, or the name of a dataset (``'ade20k'``, ``'cityscapes'``,
            ``'coco_stuff'``, ``'pascal_context'``). ``'auto'`` recognises these datasets by their
            class names.
        reason: Why this strategy was chosen, for messages.
        settings: Fields of :class:`~mmseg_cascadepsp.cascade.FusionSettings`, and fields of
            :class:`~mmseg_cascadepsp.cascade.CascadeSettings` that replace those of the refiner.

    Raises:
        InvalidTypeError: There is no such setting.
        InvalidValueError: A setting is out of range.

    Example:
        >>> build_strategy({'type': 'scene', 'L': 500}).settings
        {'L': 500}
    """

    #: Defaults that differ from those of :class:`FusionSettings`.
    own: Mapping = {}

    def __init__(
        self,
        stuff: str | Collection[int | str] = 'auto',
        reason: str | None = None,
        **settings,
    ) -> None:
        refuse_renamed(settings, 'strategy')
        unknown = settings.keys() - {*FUSION, *CASCADE}
        if unknown:
            raise InvalidTypeError(
                f'{type(self).__name__} has no setting {", ".join(sorted(unknown))}; it has '
                f'stuff, {", ".join(FUSION)}, and those of the cascade: {", ".join(CASCADE)}.'
            )
        self.stuff, self.reason, self.settings = stuff, reason, settings
        fusion = {name: settings[name] for name in FUSION if name in settings}
        self.fusion = {**self.own, **fusion}
        self.cascade = {name: settings[name] for name in CASCADE if name in settings}
        if settings.get('compat') is not None:
            self.cascade['compat'] = settings['compat']
        FusionSettings(**self.fusion)  # raises errors now, not at the first photo
        CascadeSettings(**self.cascade)

    def refine(
        self,
        network: Network,
        image: Tensor,
        labels: np.ndarray,
        *,
        classes: Sequence[str] | None = None,
        ignore_index: int | None = 255,
        logits: Tensor | np.ndarray | None = None,
        progress: Progress | None = None,
    ) -> SceneResult:
        """Refine a label map.

        Args:
            network: Network of the refiner.
            image: (3, H, W), RGB uint8.
            labels: (H, W) integer, class ids from 0.
            classes: Names of all classes, in order. They are needed to check ids and to find stuff
                and background.
            ignore_index: Id of void pixels, which are not changed. None if there are none.
            logits: (classes, H, W), logits of the segmentor, if available.
            progress: Function that is called with the number of parts done and of all parts.

        Returns:
            The refined labels, with the dtype of ``labels``, and details.

        Raises:
            InvalidValueError: The label map has unknown ids or another size than the image.
            InvalidTypeError: The label map is not of integers.
        """
        classes = check_classes(classes)
        fusion = FusionSettings(
            **self.fusion,
            **self._ids(classes),
            stuff=stuff_ids(self.stuff, classes),
            ignore_index=ignore_index,
            num_classes=None if classes is None else len(classes),
        )
        settings = network.defaults.replace(**self.cascade)
        return self._run(network, image, labels, fusion, settings, logits, progress)

    def _ids(self, classes: Sequence[str] | None) -> dict:
        """Settings of the fusion that depend on the names of the classes."""
        return {}

    @abstractmethod
    def _run(self, *arguments) -> SceneResult:
        """Refine, with the arguments of :func:`~mmseg_cascadepsp.cascade.refine_scene`."""

    def __eq__(self, other: object) -> bool:
        """Whether all settings are equal. The reason is not compared."""
        own = {**vars(self), 'reason': None}
        return type(self) is type(other) and own == {**vars(other), 'reason': None}

    def __repr__(self) -> str:
        settings = ''.join(f', {name}={value!r}' for name, value in self.settings.items())
        return f'{type(self).__name__}(stuff={self.stuff!r}{settings})'

    def __str__(self) -> str:
        return type(self).__name__ + (f': {self.reason}' if self.reason else '')


@TASK_UTILS.register_module()
class SceneParsingStrategy(Strategy):
    """Refine each connected component of each class in its own region (paper, section 4.3).

    Args:
        stuff, reason, settings: See :class:`Strategy`.
        keep: Ids or names of classes that are not refined. They only lose pixels to neighbours of
            high probability. This is for things that one can see through, such as foliage and
            fences, which have no clear boundary.

    Example:
        >>> SceneParsingStrategy(stuff='ade20k', padding=0.5)
        SceneParsingStrategy(stuff='ade20k', padding=0.5)
    """

    def __init__(
        self,
        stuff: str | Collection[int | str] = 'auto',
        reason: str | None = None,
        keep: str | Collection[int | str] = (),
        **settings,
    ) -> None:
        super().__init__(stuff, reason, **settings)
        self.keep = [keep] if isinstance(keep, str) else keep

    def _ids(self, classes: Sequence[str] | None) -> dict:
        return {'keep': {class_id(name, classes, 'keep') for name in self.keep}}

    def _run(self, *arguments) -> SceneResult:
        return refine_scene(*arguments)


@TASK_UTILS.register_module()
class SemanticStrategy(Strategy):
    """Refine one mask per class over the whole image, for few classes and large photos.

    Args:
        stuff, reason, settings: See :class:`Strategy`. ``min_area`` and ``prior_weight`` are 0 by
            default.
        background: Id or name of the class that is not refined and gets all pixels that no other
            class claims. ``'auto'`` takes the class named background, if there is one. None
            refines all classes.

    Example:
        >>> SemanticStrategy(background=0, L=500).cascade
        {'L': 500}
    """

    own = {'min_area': 0, 'prior_weight': 0.0}

    def __init__(
        self,
        stuff: str | Collection[int | str] = 'auto',
        reason: str | None = None,
        background: int | str | None = 'auto',
        **settings,
    ) -> None:
        super().__init__(stuff, reason, **settings)
        self.background = background

    def _background(self, classes: Sequence[str] | None) -> int | None:
        if self.background is None:
            return None
        if self.background == 'auto':
            return find_background(classes)
        return class_id(self.background, classes, 'background')

    def _ids(self, classes: Sequence[str] | None) -> dict:
        return {'background': self._background(classes)}

    def _run(self, *arguments) -> SceneResult:
        return refine_classes(*arguments)


@TASK_UTILS.register_module()
class BinaryStrategy(SemanticStrategy):
    """Refine one foreground class against the background.

    Args:
        stuff, reason, settings: See :class:`SemanticStrategy`.
        background: Id or name of the background. ``'auto'`` takes the class named background, or
            0 if there is none.
        foreground: Id or name of the foreground. By default it is 1, or 0 if ``background`` is 1.

    Example:
        >>> BinaryStrategy(foreground=7).foreground
        7
    """

    def __init__(
        self,
        stuff: str | Collection[int | str] = 'auto',
        reason: str | None = None,
        background: int | str | None = 'auto',
        foreground: int | str | None = None,
        **settings,
    ) -> None:
        super().__init__(stuff, reason, background, **settings)
        self.foreground = foreground

    def _background(self, classes: Sequence[str] | None) -> int:
        found = super()._background(classes)
        return 0 if found is None else found

    def refine(
        self,
        network: Network,
        image: Tensor,
        labels: np.ndarray,
        *,
        classes: Sequence[str] | None = None,
        ignore_index: int | None = 255,
        **options,
    ) -> SceneResult:
        """See :meth:`Strategy.refine`.

        Raises:
            InvalidValueError: ``labels`` have another class than foreground and background.
        """
        classes = check_classes(classes)
        # A single name is that of the object, and 0 is the background.
        names = ('background', *classes) if classes is not None and len(classes) == 1 else classes
        background = self._background(names)
        foreground = 1 - background
        if self.foreground is not None:
            foreground = class_id(self.foreground, names, 'foreground')
        if (background not in (0, 1) and self.foreground is None) or foreground == background:
            raise InvalidValueError(
                f'background is class {background}: foreground must be another one, and given '
                'if background is neither 0 nor 1.'
            )
        if isinstance(labels, np.ndarray) and labels.dtype.kind in 'iu':
            strange = set(np.unique(labels).tolist()) - {background, foreground, ignore_index}
            if strange:
                raise InvalidValueError(
                    f'labels must hold {background} (background), {foreground} (foreground) and '
                    f'ignore_index {ignore_index} only for the binary strategy, got '
                    f'{sorted(strange)[:5]}; use the semantic or the scene strategy.'
                )
        return super().refine(
            network, image, labels, classes=names, ignore_index=ignore_index, **options
        )


#: Strategies by their name on command lines and in ``Refiner.refine_semantic``.
STRATEGIES = {
    'scene': SceneParsingStrategy,
    'semantic': SemanticStrategy,
    'binary': BinaryStrategy,
}


def choose_strategy(
    classes: Sequence[str] | None = None, num_classes: int | None = None
) -> tuple[str, str]:
    """Choose a strategy by the classes, for ``'auto'``.

    Args:
        classes: Names of all classes, in order.
        num_classes: Number of classes, if their names are not known.

    Returns:
        Name of the strategy, and the reason as a sentence.

    Example:
        >>> choose_strategy(['background', 'vessel'])[0]
        'binary'
        >>> choose_strategy(['background', 'cat', 'dog'])[0]
        'semantic'
        >>> choose_strategy(['road', 'car', 'sky'])[0]
        'scene'
    """
    classes = check_classes(classes)
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
    """Build a strategy.

    Args:
        strategy: ``'scene'``, ``'semantic'``, ``'binary'`` or ``'auto'``, or a config whose
            ``type`` is one of these names or a class in ``TASK_UTILS``. A strategy is returned as
            it is. ``'auto'`` chooses by the classes, see :func:`choose_strategy`, and ``str()`` of
            the strategy tells the reason.
        classes, num_classes: See :func:`choose_strategy`.

    Returns:
        The strategy.

    Raises:
        InvalidValueError: The name is unknown.
        InvalidTypeError: A setting is unknown, or ``strategy`` is of another type.

    Example:
        >>> print(build_strategy('auto', classes=['background', 'vessel']))
        BinaryStrategy: there is one foreground class.
    """
    if isinstance(strategy, str):
        strategy = {'type': strategy}
    if isinstance(strategy, Strategy):
        return strategy
    if not isinstance(strategy, Mapping):
        raise InvalidTypeError(
            f'strategy must be a name, a config or a Strategy, got {type(strategy).__name__}.'
        )
    settings = dict(strategy)
    kind = settings.pop('type', 'auto')
    if kind == 'auto':
        kind, settings['reason'] = choose_strategy(classes, num_classes)
    return known_strategy(dict(settings, type=kind))(**settings)


def known_strategy(strategy: str | Mapping) -> type[Strategy] | None:
    """Class of a strategy, for checks before the classes of the data are known.

    Args:
        strategy: Name or config of a strategy.

    Returns:
        The class, or None for ``'auto'``.

    Raises:
        InvalidValueError: The name is unknown.
        InvalidTypeError: The class does not have a setting, or is no :class:`Strategy`.

    Example:
        >>> known_strategy('binary').__name__
        'BinaryStrategy'
    """
    settings = {'type': strategy} if isinstance(strategy, str) else dict(strategy)
    kind = settings.pop('type', 'auto')
    if kind == 'auto':
        return None
    known = STRATEGIES.get(kind) if isinstance(kind, str) else kind
    if known is None and isinstance(kind, str):
        known = TASK_UTILS.get(kind)
    if known is None:
        raise InvalidValueError(
            f"strategy must be 'auto', {', '.join(map(repr, STRATEGIES))} or the "
            f'name of a class in TASK_UTILS, got {kind!r}.'
        )
    if not isinstance(known, type) or not issubclass(known, Strategy):
        name = getattr(known, '__name__', repr(known))
        raise InvalidTypeError(f'strategy must be a kind of Strategy, got {name}.')
    known(**settings)  # raises errors for unknown settings
    return known
