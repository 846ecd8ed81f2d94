import hashlib
from pathlib import Path

import pytest
import torch

from mmseg_cascadepsp.apis import ZOO, Refiner, build_model, find_config, find_weights
from mmseg_cascadepsp.models.refiner import zoo as model_zoo
from mmseg_cascadepsp.models.refiner.download import download
from mmseg_cascadepsp.models.refiner.zoo import Pretrained


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A named model whose weights lie at a URL, and an empty cache."""
    source = tmp_path / 'server' / 'model'
    source.parent.mkdir()
    source.write_bytes(b'weights' * 1000)
    digest = hashlib.md5(source.read_bytes()).hexdigest()
    entry = Pretrained('tiny.py', 'tiny.pth', source.as_uri(), digest, '7 kB')
    monkeypatch.setitem(model_zoo.ZOO, 'served', entry)
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'cache'))
    return source, tmp_path / 'cache' / 'checkpoints' / 'tiny.pth'


@pytest.mark.parametrize('name', ZOO)
def test_named_models_have_configs_that_build(name):
    model, label = build_model(name)
    assert label == name
    assert callable(model.refine_pass) and tuple(model.cascade_strides) == (8, 4, 1)


def test_other_names_of_the_same():
    assert build_model('cascadepsp_lite')[1] == 'lite'


def test_configs_of_an_installed_wheel(tmp_path, monkeypatch):
    package = tmp_path / 'site-packages' / 'mmseg_cascadepsp'
    inside = package / '.mim' / 'configs' / 'a.py'
    inside.parent.mkdir(parents=True)
    inside.write_text('')
    stranger = package.parent / 'configs' / 'a.py'  # of somebody else's package
    stranger.parent.mkdir()
    stranger.write_text('')
    monkeypatch.setattr(model_zoo, 'PACKAGE', package)
    assert find_config('a.py') == inside
    with pytest.raises(OSError, match='b.py is not in .*not complete'):
        find_config('b.py')
    (package.parent / 'setup.py').write_text('')  # such as a package leaves in site-packages
    assert find_config('a.py') == inside
    (package.parent / 'configs' / 'cascadepsp_lite.py').write_text('')  # a checkout
    assert find_config('a.py') == stranger


def test_the_authors_file_is_the_one_of_their_release():
    entry = ZOO['r50']
    assert entry.md5 == '7478d4a9c42ab52beb6d7e9683402fe0'
    assert entry.url.endswith('/v1.0/model')


def test_weights_are_fetched_once(served):
    source, cached = served
    assert find_weights('served', progress=False) == cached
    assert cached.read_bytes() == source.read_bytes()
    source.unlink()
    assert find_weights('served') == cached


def test_without_a_network_it_is_said_what_to_put_where(served):
    source, cached = served
    source.unlink()
    with pytest.raises(OSError) as told:
        find_weights('served', progress=False)
    for words in (source.as_uri(), '7 kB', ZOO['served'].md5, str(cached), 'checkpoint=FILE'):
        assert words in str(told.value)
    assert not cached.exists()


def test_what_came_damaged_is_not_kept(served):
    source, cached = served
    source.write_bytes(b'a login page of a hotel')
    with pytest.raises(OSError, match='what came has the md5'):
        find_weights('served', progress=False)
    assert list(cached.parent.iterdir()) == []


def test_a_damaged_cache_is_told(served):
    _, cached = served
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b'half')
    with pytest.raises(OSError, match='tiny.pth is damaged: its md5 .*Delete it'):
        find_weights('served')


@pytest.mark.parametrize(
    ('end', 'words'), [('reset', 'peer is gone'), ('silent', 'only 5 of 99 bytes came')]
)
def test_an_interrupted_download_leaves_nothing(tmp_path, monkeypatch, end, words):
    class Answer:
        headers = {'Content-Length': '99'}
        blocks = iter([b'begin'])

        def read(self, _):
            try:
                return next(self.blocks)
            except StopIteration:
                if end == 'silent':  # as of a socket that the other side closed
                    return b''
                raise ConnectionResetError('peer is gone') from None

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    monkeypatch.setattr('urllib.request.urlopen', lambda *_, **__: Answer())
    with pytest.raises(OSError, match=words):
        download('https://example.org/a', tmp_path / 'new' / 'a', progress=False)
    assert list((tmp_path / 'new').iterdir()) == []


def test_weights_that_did_not_come_with_the_package(tmp_path, monkeypatch):
    monkeypatch.setattr(model_zoo, 'PACKAGE', tmp_path)
    with pytest.raises(OSError, match="weights of 'lite' are not at .*checkpoint=FILE"):
        find_weights('lite')


@pytest.mark.skipif(
    not (Path(model_zoo.PACKAGE) / 'weights' / ZOO['lite'].weights).is_file(),
    reason='no weights in this checkout',
)
def test_the_shipped_weights_load_and_are_small():
    assert find_weights('lite').stat().st_size <= 16 * 2**20
    assert Refiner('lite', device='cpu').name == 'lite'


@pytest.mark.parametrize('right', [True, False])
def test_the_hash_in_the_name_of_segmentor_weights_is_checked(tmp_path, right):
    content = b'weights' * 1000
    digest = hashlib.sha256(content).hexdigest() if right else '0123abcd'
    source = tmp_path / f'fcn_20200614-{digest[:8]}.pth'
    source.write_bytes(content)
    target = tmp_path / 'cache' / source.name
    if right:
        download(source.as_uri(), target, progress=False)
        assert target.read_bytes() == content
    else:
        with pytest.raises(OSError, match='SHA-256 of what came begins with .* not with 0123abcd'):
            download(source.as_uri(), target, progress=False)
        assert not target.exists()
