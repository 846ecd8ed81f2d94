"""The page: complete in itself, and looked at in a real browser."""

import html.parser
import shutil
import subprocess
import time

import numpy as np
import pytest

pytest.importorskip('pycocotools')
pytest.importorskip('shapely')

from mmseg_cascadepsp.annotations import (  # noqa: E402
    AnnotationReport,
    ObjectResult,
    open_annotations,
    refine_annotations,
    write_report,
)
from mmseg_cascadepsp.annotations.report import histogram  # noqa: E402

from .sets import ToyRefiner, coco, label_maps  # noqa: E402

CHROMIUM = shutil.which('chromium') or shutil.which('chromium-browser')


class Page(html.parser.HTMLParser):
    """Tags and what they refer to."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.links = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.links += [v for k, v in attributes if k in ('src', 'href', 'data-src')]


def test_the_page_is_complete_in_itself(tmp_path):
    path, images = coco(tmp_path)
    data = path.read_text().replace('"Häuser"', '"<b>&"').replace('H\\u00e4user', '<b>&')
    path.write_text(data)
    page = tmp_path / 'page.html'
    report = refine_annotations(
        ToyRefiner(), path, images=images, out=tmp_path / 'o.json', report=page, max_change=0.18
    )
    text = page.read_text()
    found = Page(text)
    assert found.tags.count('figure') == 4 == len(found.links)
    assert all(link.startswith('data:image/jpeg;base64,') for link in found.links)
    assert 'http' not in text and '<b>&lt;b&gt;&amp;</b>' in text
    assert {item.reason for item in report.of('kept')} == {
        'crowd',
        'no outline',
        'it would change too much',
    }
    # Those that change most come first among the kept and among the refined.
    kept, refined = text.index('Look at these'), text.index('Refined, the largest')
    assert kept < refined


def test_label_maps_have_pictures_too(tmp_path):
    path, images = label_maps(tmp_path)
    page = tmp_path / 'page.html'
    refine_annotations(ToyRefiner(), path, images=images, out=tmp_path / 'o', report=page)
    assert Page(page.read_text()).tags.count('figure') >= 4


def test_the_histogram_counts():
    svg = histogram([0.01, 0.02, 0.99, 1])
    assert '0 to 5 %: 2 objects' in svg and '95 to 100 %: 2 objects' in svg


def _in_browser(page, folder, budget):
    """What the page has become after its scripts ran."""
    flags = (
        '--headless --no-sandbox --disable-gpu --disable-quic --no-first-run '
        '--disable-background-networking --disable-component-update --disable-sync'
    ).split()
    command = [CHROMIUM, *flags, f'--user-data-dir={folder}', '--window-size=1100,900']
    command += [f'--virtual-time-budget={budget}', '--dump-dom', page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120).stdout


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason='no chromium')
def test_a_browser_opens_a_thousand_objects_at_once(tmp_path):
    path, images = coco(tmp_path)
    source = open_annotations(path, images)
    entries = [(p.key, e) for p in source.photos() for e in p.entries if not e.kept]
    rng = np.random.default_rng(0)
    objects = []
    photo, entry = entries[0]
    for share in rng.random(1000):
        objects.append(
            ObjectResult(photo, entry.key, 'x', 'refined', '', share, 1.0, (1, 1), 0.9, 1.0)
        )
    page = tmp_path / 'page.html'
    write_report(page, source, AnnotationReport('COCO', objects))
    start = time.perf_counter()
    dom = _in_browser(page, tmp_path / 'profile', 3000)
    assert time.perf_counter() - start < 60
    figures = dom.split('<figure')[1:]
    assert len(figures) == 1000
    loaded = ['src="data:' in f and 'data-src' not in f for f in figures]
    # What is in view has its picture, what is far below waits.
    assert loaded[0] and 2 <= sum(loaded) < 200
    assert 'data-src="data:' in figures[-1]
