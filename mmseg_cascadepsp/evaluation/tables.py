"""Tables of what was measured, as Markdown and JSON."""

import json
from collections.abc import Iterable, Mapping, Sequence

from .folders import POOLED
from .functional.scores import MASK_SCORES


def photos_to_markdown(rows: Sequence[Mapping]) -> str:
    """Write rows of single photos as Markdown, a table for each kind and method.

    Args:
        rows: The rows.

    Example:
        >>> import numpy as np
        >>> from mmseg_cascadepsp.evaluation.folders import Record, per_photo
        >>> from mmseg_cascadepsp.evaluation.tables import photos_to_markdown
        >>> counts = np.zeros((2, 15), np.int64)
        >>> counts[:, :2] = (80, 100), (90, 100)  # intersection and union before and after
        >>> rows = per_photo([Record('cats', 'networks', 'lite', counts, 0.5, 'tom')])
        >>> photos_to_markdown(rows).splitlines()[-1].startswith('| tom | cats | 80.00 -> 90.00 ')
        True
    """
    lines: list[str] = []
    header = [
        _line(('photo', 'set', 'IoU', 'mBA', 'Boundary IoU', 's')),
        '|---|---|---|---|---|---:|',
    ]
    for kind, method in dict.fromkeys((row['kind'], row['method']) for row in rows):
        lines += [f'{kind}, {method}, photo by photo', '', *header]
        for row in rows:
            if (row['kind'], row['method']) == (kind, method):
                cells = [row['photo'], row['set'], *_scores(row, 3), f'{row["seconds"]:.2f}']
                lines.append(_line(cells))
        lines.append('')
    return '\n'.join(lines).rstrip()


def worst_set(
    rows: Sequence[Mapping], kind: str, method: str, minimum: int = 10
) -> Mapping | None:
    """Find the set whose IoU gained least.

    Args:
        rows: What :func:`~mmseg_cascadepsp.evaluation.folders.summarise` returned.
        kind: Kind of coarse masks.
        method: Name of the method.
        minimum: Sets of fewer coarse masks do not count.

    Returns:
        The row of the set, or None if all are too small.

    Example:
        >>> from mmseg_cascadepsp.evaluation.tables import worst_set
        >>> row = dict(kind='networks', method='lite', n=20)
        >>> rows = [dict(row, set='cats', IoU_gain=2.0), dict(row, set='dogs', IoU_gain=1.0)]
        >>> worst_set(rows, 'networks', 'lite')['set']
        'dogs'
    """
    rows = [
        row
        for row in rows
        if (row['kind'], row['method']) == (kind, method)
        and row['set'] != POOLED
        and row['n'] >= minimum
    ]
    return min(rows, key=lambda row: row['IoU_gain'], default=None)


COLUMNS = (
    'set', 'n', 'IoU', 'mBA', 'Boundary IoU', 'IoU per image', 'lose > 0.5', 'lose > 2',
    'worst tenth', 'speckles', 's per mask',
)  # fmt: skip


def table_row(row: Mapping) -> list[str]:
    """Write a row of a set as the cells under :data:`COLUMNS`.

    Args:
        row: The row.

    Returns:
        A cell for each column. The scores come as before -> after (gain), in per cent. ``lose``
        are the shares of masks that lose more than 0.5 and more than 2 points of IoU, and
        ``worst tenth`` is the mean change in IoU of the worst tenth of the masks.

    Example:
        >>> import numpy as np
        >>> from mmseg_cascadepsp.evaluation.folders import Record, summarise
        >>> from mmseg_cascadepsp.evaluation.tables import table_row
        >>> counts = np.zeros((2, 15), np.int64)
        >>> counts[:, :2] = (80, 100), (90, 100)  # intersection and union before and after
        >>> row, _ = summarise([Record('cats', 'networks', 'lite', counts, 0.5)])
        >>> table_row(row)[2], table_row(row)[6:]
        ('80.00 -> 90.00 (+10.00)', ['0.0 %', '0.0 %', '+10.00', '0.00 -> 0.00', '0.50'])
    """
    return [
        row['set'],
        str(row['n']),
        *_scores(row, 4),
        f'{row["harmed_0.5"]:.1f} %',
        f'{row["harmed_2"]:.1f} %',
        f'{row["worst_tenth"]:+.2f}',
        f'{row["speckles_before"]:.2f} -> {row["speckles"]:.2f}',
        f'{row["seconds"]:.2f}',
    ]


def _scores(row: Mapping, count: int) -> list[str]:
    return [
        '{:.2f} -> {:.2f} ({:+.2f})'.format(
            *(row[f'{key}{state}'] for state in ('_before', '', '_gain'))
        )
        for key in MASK_SCORES[:count]
    ]


def to_markdown(rows: Sequence[Mapping], minimum: int = 10) -> str:
    """Write the rows as Markdown: a table for each kind and method, with its worst set.

    Args:
        rows: What :func:`~mmseg_cascadepsp.evaluation.folders.summarise` returned.
        minimum: Sets of fewer coarse masks are not named as the worst.

    Returns:
        The text. The columns are explained at :func:`table_row`.

    Example:
        >>> import numpy as np
        >>> from mmseg_cascadepsp.evaluation.folders import Record, summarise
        >>> from mmseg_cascadepsp.evaluation.tables import to_markdown
        >>> counts = np.zeros((2, 15), np.int64)
        >>> counts[:, :2] = (80, 100), (90, 100)  # intersection and union before and after
        >>> text = to_markdown(summarise([Record('cats', 'networks', 'lite', counts, 0.5)]))
        >>> text.splitlines()[0]
        'networks, lite'
        >>> text.splitlines()[4].startswith('| all | 1 | 80.00 -> 90.00 (+10.00) |')
        True
    """
    lines = []
    for kind, method in dict.fromkeys((row['kind'], row['method']) for row in rows):
        lines += [f'{kind}, {method}', '', _line(COLUMNS), '|---|---:|' + '---|' * 4 + '---:|' * 5]
        for row in rows:
            if (row['kind'], row['method']) == (kind, method):
                lines.append(_line(table_row(row)))
        worst = worst_set(rows, kind, method, minimum)
        if worst:
            lines += [
                '',
                f'Least IoU gain of a set of {minimum} masks or more: '
                f'{worst["IoU_gain"]:+.2f} ({worst["set"]}).',
            ]
        lines.append('')
    return '\n'.join(lines)


def _line(cells: Iterable[str]) -> str:
    return f'| {" | ".join(cells)} |'


def to_json(rows: Sequence[Mapping]) -> str:
    """Write the rows as JSON.

    Args:
        rows: What :func:`~mmseg_cascadepsp.evaluation.folders.summarise` returned.

    Returns:
        The text. What has no value (NaN) is null.

    Example:
        >>> from mmseg_cascadepsp.evaluation.tables import to_json
        >>> print(to_json([dict(set='cats', mBA=float('nan'))]))
        [
         {
          "set": "cats",
          "mBA": null
         }
        ]
    """
    return json.dumps(
        [{key: None if value != value else value for key, value in row.items()} for row in rows],
        indent=1,
    )
