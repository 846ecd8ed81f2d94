"""What became of the objects of a set."""

from dataclasses import dataclass, field


@dataclass
class ObjectResult:
    """What became of an object.

    Attributes:
        photo: Key of its photo.
        key: Its own.
        label: The name of its class.
        status: ``'refined'``, ``'kept'`` or ``'failed'``.
        reason: Of those that are not refined.
        iou, shift, parts, sureness: See :class:`~mmseg_cascadepsp.cascade.changes.Change`.
            None where nothing was refined.
        outline_iou: IoU of the refined mask with what the reader of the format makes of it. None
            as above.
        geometry: The new one, as the adapter encodes it. None: the old one stays.
        proposal: Run lengths of a new mask that was not taken.
    """

    photo: str
    key: str
    label: str
    status: str
    reason: str = ''
    iou: float | None = None
    shift: float | None = None
    parts: tuple[int, int] | None = None
    sureness: float | None = None
    outline_iou: float | None = None
    geometry: object = None
    proposal: dict | None = None


@dataclass
class AnnotationReport:
    """What a run did.

    Attributes:
        format: Name of the format.
        objects: What became of every object.
        faults: Name of a photo that failed -> a sentence.
        scores: With a truth: name of a score -> (before, after).
        simplified: Share of pixels that simplified outlines put in another class, where all
            outlines are drawn at once.
        was_there: Whether an earlier run had finished, and this one did nothing. Then objects have
            neither ``geometry`` nor ``proposal``.
    """

    format: str
    objects: list[ObjectResult] = field(default_factory=list)
    faults: dict[str, str] = field(default_factory=dict)
    scores: dict[str, tuple[float, float]] = field(default_factory=dict)
    simplified: float | None = None
    was_there: bool = False

    def of(self, status: str) -> list[ObjectResult]:
        """The objects of a status."""
        return [item for item in self.objects if item.status == status]

    @property
    def failed(self) -> bool:
        """Whether a photo or an object failed."""
        return bool(self.faults or self.of('failed'))

    def __str__(self) -> str:
        return (
            f'{len(self.of("refined"))} objects refined, {len(self.of("kept"))} kept, '
            f'{len(self.of("failed"))} failed; {len(self.faults)} photos failed'
        )

    def told(self) -> list[str]:
        """Lines for a terminal: scores, and what was done.

        Example:
            >>> AnnotationReport('COCO', scores={'IoU': (90, 95.5)}).told()[0]
            'IoU            90.00 ->  95.50'
        """
        lines = [
            f'{name:13} {before:6.2f} -> {after:6.2f}'
            for name, (before, after) in self.scores.items()
        ]
        return [*lines, f'{self.format}: {self}']

    def by_change(self) -> list[ObjectResult]:
        """The objects that were looked at, those that change most first."""
        looked = [item for item in self.objects if item.iou is not None]
        return sorted(looked, key=lambda item: (item.iou, item.photo, item.key))
