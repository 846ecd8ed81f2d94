"""How a label map is taken apart for the refiner and put together again.

A strategy holds settings by the names of classes. The procedure is
:mod:`mmseg_cascadepsp.cascade`.
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

from .classes import class_id, find_background, known_dataset, stuff_ids

#: Settings of the fusion that a strategy finds by itself.
FOUND = {'stuff', 'background', 'keep', 'ignore_index', 'num_classes'}
FUSION = [field.name for field in fields(FusionSettings) if field.name not in FOUND]
#: ``compat`` is a setting of both, and ``batch_size`` that of the fusion's regions.
CASCADE = [field.name for field in fields(CascadeSettings) if field.name not in FUSION]


class Strategy(ABC):
    """What all strategies share.

    Args:
        stuff: Classes whose probability is attenuated, so that objects in front of them win: ids
            or names, the name of a dataset (``'ade20k'``, ``'cityscapes'``, ``'coco_stuff'``,
            ``'pascal_context'``), or ``'auto'``: the list of the dataset whose class names these
            are, if it is one of those.
        reason: Why this strategy was chosen, for messages.
        settings: Fields of :class:`~mmseg_cascadepsp.cascade.FusionSettings`, and of
            :class:`~mmseg_cascadepsp.cascade.CascadeSettings` where they differ from the
            refiner's own.

    Raises:
        InvalidTypeError: There is no such setting.
        InvalidValueError: A setting is out of range.
    """

    #: Settings of the fusion that differ from :class:`FusionSettings`.
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
        FusionSettings(**self.fusion)  # now, not at the first photo
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
            network: The refiner.
            image: (3, H, W), RGB uint8.
            labels: (H, W) integer, 0-based ids.
            classes: Names of the classes. With them ids are checked, and stuff and background
                found.
            ignore_index: Id of void pixels, which stay as they are; None if there are none.
            logits: (classes, H, W), the segmentor's, if they are at hand.
            progress: Called with (parts done, parts to do).

        Returns:
            Labels of the dtype given, and what was found.

        Raises:
            InvalidValueError, InvalidTypeError: A label map or settings that cannot be right.
        """
        fusion = FusionSettings(
            **self.fusion,
            **self._ids(classes),
            stuff=stuff_ids(self.stuff, classes),
            ignore_index=ignore_index,
            num_classes=None if classes is None else len(classes),
        )
        settings = (network.defaults or CascadeSettings()).replace(**self.cascade)
        return self._run(network, image, labels, fusion, settings, logits, progress)

    def _ids(self, classes: Sequence[str] | None) -> dict:
        """Further settings that go by the names of the classes."""
        return {}

    @abstractmethod
    def _run(self, *arguments) -> SceneResult:
        """The procedure, given all that :func:`~mmseg_cascadepsp.cascade.refine_scene` takes."""

    def __eq__(self, other: object) -> bool:
        """Whether the settings are the same; the reason does not count."""
        own = {**vars(self), 'reason': None}
        return type(self) is type(other) and own == {**vars(other), 'reason': None}

    def __repr__(self) -> str:
        settings = ''.join(f', {name}={value!r}' for name, value in self.settings.items())
        return f'{type(self).__name__}(stuff={self.stuff!r}{settings})'

    def __str__(self) -> str:
        return type(self).__name__ + (f': {self.reason}' if self.reason else '')


@TASK_UTILS.register_module()
class SceneParsingStrategy(Strategy):
    """Divide and conquer (paper, section 4.3): each connected component of each class is refined
    in a region of its own.

    Args:
        stuff, reason, settings: See :class:`Strategy`.
        keep: Classes, ids or names, that are not refined but give way to neighbours that are sure:
            what one sees through (foliage, fences) has no edge to follow.

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
    """One mask per class, refined over the whole image: for few classes and large photos.

    Args:
        stuff, reason, settings: See :class:`Strategy`. ``min_area`` is 0 and ``prior_weight`` 0
            by default.
        background: Id or name of the class that has no mask of its own and takes what the others
            give up; ``'auto'``: the class of that name, if there is one; None: all have masks.

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
    """One foreground class.

    Args:
        stuff, reason, settings: See :class:`SemanticStrategy`.
        background: Id or name; ``'auto'``: the class of that name, else 0.
        foreground: Id or name; by default the id, 0 or 1, that is not ``background``.

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
            InvalidValueError: ``labels`` hold another class than these two.
        """
        # A single name is that of the object: 0 is all else.
        names = ('background', *classes) if classes is not None and len(classes) == 1 else classes
        background = self._background(names)
        foreground = 1 - background
        if self.foreground is not None:
            foreground = class_id(self.foreground, names, 'foreground')
        if (background not in (0, 1) and self.foreground is None) or foreground == background:
            raise InvalidValueError(
                f'background is class {background}: foreground must be another one, and given.'
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
    if issubclass(known, Strategy):
        known(**settings)  # settings that it does not have are told now
    return known
