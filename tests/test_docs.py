"""README and docs: every command and every block of code runs, every link leads somewhere.

A fenced block in bash or python runs, in the order of its page, in a folder with small photos. The
blocks of a page share that folder and their Python names. A comment on the line above a fence says
what else is to be known:

``<!-- not run: REASON -->``
    It is not run.
``<!-- slow -->``
    It takes more than seconds.
``<!-- with: OPTIONS -->``
    Its commands run with these options besides, such as ``--iters 2``.
``<!-- config -->``
    It is a config: it is read as one, and its chain is built.
``<!-- background -->``
    It is a server: it runs until the page ends. Port 8000 is any that is free.

What a command prints stands in blocks of ``text``.
"""

import html.parser
import importlib
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import cv2
import numpy as np
import pytest
import tifffile
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.visualization import Visualizer

from mmseg_cascadepsp.cli import command
from mmseg_cascadepsp.models.refiner import zoo

from .chaining import encoder_decoder, write_ade20k, write_checkpoint, write_picture
from .training import write_data

ROOT = Path(__file__).resolve().parents[1]
NAME = 'mmseg_cascadepsp'
PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md'))]
FENCE = re.compile(r'^( *)```(\S*)[^\n]*\n(.*?)^ *```$', re.MULTILINE | re.DOTALL)
MARK = re.compile(r'<!-- (not run|slow|with|config|background)(?:: (.+))? -->')
INLINE = re.compile(r'`(mmseg-cascadepsp [a-z][^`]*)`')
LINK = re.compile(r'(?<!\\)\]\((?!https?:|mailto:)([^)\s]+)\)')
#: What blocks may be: run, not run, and directives of the site.
RUN, SHOWN = ('bash', 'python'), ('text', 'bibtex')


class Block(NamedTuple):
    """A fenced block."""

    line: int
    language: str
    text: str
    marks: dict

    @property
    def runs(self):
        return self.language in RUN and 'not run' not in self.marks


def blocks_of(page):
    text = page.read_text(encoding='utf-8')
    for fence in FENCE.finditer(text):
        above = text[: fence.start()].splitlines()
        marks = {}
        while above and (mark := MARK.fullmatch(above[-1].strip())):
            marks[mark[1]] = mark[2]
            above.pop()
        indent = len(fence[1])
        lines = [line[indent:] for line in fence[3].splitlines()]
        yield Block(text[: fence.start()].count('\n') + 1, fence[2], '\n'.join(lines), marks)


def ids(page):
    return page.name


@pytest.mark.parametrize('page', PAGES, ids=ids)
def test_blocks_are_marked_as_the_test_knows(page):
    text = page.read_text(encoding='utf-8')
    assert text.count('```') == 2 * len(FENCE.findall(text))
    for block in blocks_of(page):
        where = f'{page.name}:{block.line}'
        known = block.language in RUN + SHOWN or block.language.startswith('{')
        assert known, f'{where}: {block.language!r}'
        assert block.marks.get('not run', 'a reason'), f'{where}: a reason is missing'


def desk(folder):
    """What a reader has: photos, masks, label maps, annotations, a model, data of their own."""
    from skimage import data

    for name in ('coffee', 'chelsea'):
        photo = getattr(data, name)()
        height, width = photo.shape[:2]
        size = (240, round(240 * height / width))
        photo = cv2.resize(photo, size, interpolation=cv2.INTER_AREA)
        write_picture(folder / 'photos' / f'{name}.jpg', photo)
        for kind, target in (('coarse', 'masks'), ('true', 'truth')):
            mask = cv2.imread(str(ROOT / 'demo/masks' / kind / f'{name}.png'), 0)
            mask = cv2.resize(mask, size, interpolation=cv2.INTER_AREA) > 127
            write_picture(folder / target / f'{name}.png', mask.astype(np.uint8) * 255)
    shutil.copy(folder / 'photos/coffee.jpg', folder / 'photo.jpg')
    shutil.copy(folder / 'masks/coffee.png', folder / 'mask.png')
    photo, mask = cv2.imread(str(folder / 'photo.jpg')), cv2.imread(str(folder / 'mask.png'), 0)
    labels = (mask > 127).astype(np.uint8)
    labels[:30] = 2
    write_picture(folder / 'labels.png', labels)
    write_picture(folder / 'label_maps/coffee.png', labels)
    small = cv2.resize(mask, (96, 64), interpolation=cv2.INTER_AREA)
    write_picture(folder / 'small_mask.png', (small > 127).astype(np.uint8) * 255)
    for name in ('photo', 'mask'):
        array = np.ascontiguousarray(photo[..., ::-1]) if name == 'photo' else mask
        np.save(folder / f'{name}.npy', array)
        tifffile.imwrite(folder / f'{"orthophoto" if name == "photo" else "mask"}.tif', array)
    write_map(folder / 'classes.tif', labels)
    (folder / 'instances.json').write_text(json.dumps(coco(folder)))
    write_data(folder / 'my_photos')
    for name in ('configs', 'tools', 'benchmarks', 'demo'):
        (folder / name).symlink_to(ROOT / name)
    write_model(folder)


def write_map(path, labels):
    """Classes with a place on earth."""
    rasterio = pytest.importorskip('rasterio')
    place = rasterio.transform.from_origin(691_000, 5_330_000, 0.2, 0.2)
    size = dict(count=1, height=labels.shape[0], width=labels.shape[1], dtype='uint8')
    with rasterio.open(path, 'w', driver='GTiff', crs=25832, transform=place, **size) as data:
        data.write(labels, 1)


def coco(folder):
    """The masks as a COCO file of polygons."""
    images, annotations = [], []
    for index, path in enumerate(sorted((folder / 'masks').glob('*.png')), 1):
        mask = cv2.imread(str(path), 0)
        outline = max(cv2.findContours(mask, 0, cv2.CHAIN_APPROX_TC89_L1)[0], key=len)
        height, width = mask.shape
        images.append(dict(id=index, file_name=f'{path.stem}.jpg', width=width, height=height))
        polygon = outline.reshape(-1).astype(float).tolist()
        annotations.append(
            dict(id=index, image_id=index, category_id=1, iscrowd=0, segmentation=[polygon],
                 area=int((mask > 0).sum()), bbox=list(cv2.boundingRect(outline)))
        )  # fmt: skip
    return dict(images=images, annotations=annotations, categories=[dict(id=1, name='object')])


def write_model(folder):
    """A small segmentor of three classes: config, weights, and the set that it is tested on."""
    write_ade20k(folder / 'street')
    model = encoder_decoder()
    config = Config(dict(model=model))
    names = ['ground', 'car', 'sky']
    config.merge_from_dict(
        dict(
            default_scope='mmseg',
            work_dir='work_dirs/my_config',
            test_dataloader=dict(
                batch_size=1,
                num_workers=0,
                sampler=dict(type='DefaultSampler', shuffle=False),
                dataset=dict(
                    type='BaseSegDataset',
                    data_root='street',
                    data_prefix=dict(
                        img_path='images/validation', seg_map_path='annotations/validation'
                    ),
                    metainfo=dict(classes=names, palette=[[9, 9, 9], [200, 0, 0], [0, 0, 200]]),
                    pipeline=[
                        dict(type='LoadImageFromFile'),
                        dict(type='LoadAnnotations'),
                        dict(type='PackSegInputs'),
                    ],
                ),
            ),
            test_cfg=dict(type='TestLoop'),
            test_evaluator=dict(type='IoUMetric', iou_metrics=['mIoU']),
        )
    )
    for path in (folder / 'street/annotations/validation').glob('*.png'):
        labels = cv2.imread(str(path), 0)
        write_picture(path, np.select([labels == 13, labels == 0], [1, 2], 0).astype(np.uint8))
        write_picture(folder / 'predictions' / path.name, np.where(labels == 13, 1, 0))
    config.dump(folder / 'my_config.py')
    write_checkpoint(model, folder / 'my_checkpoint.pth', dataset_meta=dict(classes=names))


@pytest.fixture
def toy_lite(tiny_config, tiny_checkpoint, monkeypatch):
    """In the place of the shipped refiner: one that takes milliseconds."""
    toy = zoo.Pretrained(str(tiny_config), str(tiny_checkpoint))
    monkeypatch.setitem(zoo.ZOO, 'lite', toy)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A reader's folder, to work in."""
    desk(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'argv', ['python'])
    ends = signal.getsignal(signal.SIGTERM)  # commands set their own
    yield tmp_path
    signal.signal(signal.SIGTERM, ends)
    Visualizer._instance_dict.clear()
    torch.set_num_threads(int(os.environ.get('OMP_NUM_THREADS', torch.get_num_threads())))


def commands(text):
    """The commands of a block in bash, as lists of words."""
    for line in text.replace('\\\n', ' ').splitlines():
        words = shlex.split(line, comments=True)
        if words:
            yield words


def run_command(words):
    """A command of this package, in this process."""
    assert command.main(words[1:]) == 0, shlex.join(words)


def shell_of(folder, more=''):
    """Folder of the commands that blocks call, and the environment that finds them."""
    bin_ = folder / '.bin'
    bin_.mkdir(exist_ok=True)
    for name, start in (('mmseg-cascadepsp', ' -m mmseg_cascadepsp'), ('python', '')):
        script = bin_ / name
        script.write_text(f'#!/bin/sh\nexec {sys.executable}{start} "$@" {more}\n')
        script.chmod(0o755)
    scripts = Path(sys.executable).parent  # torchrun
    paths = f'{bin_}:{scripts}:{os.environ["PATH"]}'
    return dict(os.environ, PYTHONPATH=str(ROOT), PATH=paths)


@contextmanager
def running(text, folder, port):
    """A server, once it answers, until it is not needed any more."""
    with subprocess.Popen(
        ['bash', '-euc', f'exec {text.strip()}'], env=shell_of(folder), cwd=folder
    ) as process:
        try:
            for _ in range(600):
                with socket.socket() as asked:
                    if asked.connect_ex(('127.0.0.1', port)) == 0:
                        break
                assert process.poll() is None, 'the server has ended'
                time.sleep(0.2)
            yield
        finally:
            process.terminate()


def run_bash(block, folder):
    words = list(commands(block.text))
    more = shlex.split(block.marks.get('with') or '')
    # A training forks workers, which this process with its threads must not.
    if all(line[0] == 'mmseg-cascadepsp' and line[1] != 'train' for line in words):
        for line in words:
            run_command(line + more)
        return
    run = subprocess.run(
        ['bash', '-euc', block.text],
        env=shell_of(folder, shlex.join(more)),
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr


def run_config(block, folder):
    path = folder / f'config_{block.line}.py'
    path.write_text(block.text + '\n')
    cfg = Config.fromfile(path)
    cfg.pretty_text  # noqa: B018  every value can be written down
    if 'model' in cfg and 'mmseg::' in block.text:
        build_model_of(cfg)


def build_model_of(cfg):
    from mmseg.registry import MODELS

    MODELS.build(cfg.model)


def run_page(page, folder, with_slow):
    names = {'__name__': '__main__'}
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    with ExitStack() as servers:
        for block in blocks_of(page):
            if not block.runs or ('slow' in block.marks and not with_slow):
                continue
            block = block._replace(text=block.text.replace('8000', str(port)))
            init_default_scope('mmseg')
            if 'background' in block.marks:
                servers.enter_context(running(block.text, folder, port))
            elif 'config' in block.marks:
                run_config(block, folder)
            elif block.language == 'bash':
                run_bash(block, folder)
            else:
                where = f'{page.name}:{block.line}'
                exec(compile(block.text, where, 'exec'), names)


def pages(slow):
    return [
        page
        for page in PAGES
        if any(block.runs and (slow is ('slow' in block.marks)) for block in blocks_of(page))
    ]


@pytest.mark.parametrize('page', pages(slow=False), ids=ids)
def test_quick_blocks_run(page, folder, toy_lite):
    run_page(page, folder, with_slow=False)


@pytest.mark.slow
@pytest.mark.parametrize('page', pages(slow=True), ids=ids)
def test_all_blocks_run_with_the_shipped_refiner(page, folder):
    run_page(page, folder, with_slow=True)


@pytest.mark.parametrize('page', PAGES, ids=ids)
def test_commands_within_sentences_are_understood(page):
    text = FENCE.sub('', page.read_text(encoding='utf-8'))
    for line in INLINE.findall(text):
        name, *words = shlex.split(line)[1:]
        assert name in command.COMMANDS, line
        module = importlib.import_module(f'mmseg_cascadepsp.cli.{command.COMMANDS[name][0]}')
        if words and hasattr(module, 'build_parser'):
            module.build_parser().parse_args(words)  # ends the test where it is not understood


@pytest.mark.parametrize('page', PAGES, ids=ids)
def test_links_to_files_lead_somewhere(page):
    text = FENCE.sub('', page.read_text(encoding='utf-8'))
    for link in LINK.findall(text):
        path = unquote(link.partition('#')[0])
        assert not path or (page.parent / path).exists(), f'{page.name}: {link}'


#: How sentences of other programs begin, which docs/trouble.md explains.
OTHERS = ('MMCV==', 'No module named', "'regex'", "'pkg_resources'", 'Weights only', 'Killed')
OTHERS += ('mmseg-cascadepsp:',)


def test_sentences_that_trouble_explains_are_those_of_the_package():
    source = '\n'.join(path.read_text() for path in sorted((ROOT / NAME).rglob('*.py')))
    source = re.sub(r'[\'"]\s*\n\s*f?[\'"]', '', source)  # literals that Python joins
    page = (ROOT / 'docs/trouble.md').read_text(encoding='utf-8')
    quoted = re.findall(r'`([^`]+)`', ' '.join(re.findall(r'^### .*', page, re.MULTILINE)))
    assert len(quoted) > 12
    for sentence in quoted:
        if not sentence.startswith(OTHERS):
            for part in sentence.split('...'):
                assert part.strip(" '") in source, sentence


def test_pictures_are_small_and_shown():
    shown = ' '.join(page.read_text(encoding='utf-8') for page in PAGES)
    for path in (ROOT / 'docs/images').iterdir():
        assert path.stat().st_size < 300_000, path.name
        assert path.name in shown, f'{path.name} is shown nowhere'


class Anchors(html.parser.HTMLParser):
    """What a page has to be linked to, and what it links to."""

    def __init__(self, path):
        super().__init__()
        self.ids, self.links = set(), []
        self.feed(path.read_text(encoding='utf-8'))

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.ids.add(attrs.get('id'))
        self.links += [attrs[name] for name in ('href', 'src') if attrs.get(name)]


@pytest.mark.slow
def test_the_site_is_built_without_a_warning_and_all_its_links_are_alive(tmp_path):
    sphinx = [sys.executable, '-m', 'sphinx', '-W', '--keep-going', '-q', '-b', 'html']
    run = subprocess.run(
        [*sphinx, str(ROOT / 'docs'), str(tmp_path)], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    pages = {path: Anchors(path) for path in tmp_path.rglob('*.html')}
    assert len(pages) > 20
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            assert target.exists(), f'{path.name}: {link}'
            if parts.fragment and target in pages:
                assert unquote(parts.fragment) in pages[target].ids, f'{path.name}: {link}'
