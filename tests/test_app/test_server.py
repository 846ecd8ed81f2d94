"""HTTP: answers equal the Python call's, every error is a problem document, and nothing that a
client sends is trusted.
"""

import io
import json
import re
import socket
import struct
import tempfile
import threading
import time
import warnings
import zlib
from concurrent.futures import CancelledError
from http.client import HTTPConnection

import numpy as np
import pytest
import uvicorn
from PIL import Image, ImageFile
from starlette.testclient import TestClient

from mmseg_cascadepsp.apis import Refiner
from mmseg_cascadepsp.app import limits, listening, server
from mmseg_cascadepsp.app.jobs import JobQueue
from mmseg_cascadepsp.app.limits import Limits
from mmseg_cascadepsp.app.listening import PatientProtocol, listen
from mmseg_cascadepsp.app.server import create_app
from mmseg_cascadepsp.errors import DeviceMemoryError, FileError
from tests.rounding import assert_same_probability
from tests.test_app.test_jobs import Counting, large_pair

MULTIPART = {'Content-Type': 'multipart/form-data; boundary=x'}


def png(pixels, **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, 'PNG', **options)
    return file.getvalue()


def pixels_of(response):
    assert response.status_code == 200, response.text
    assert response.headers['content-type'] == 'image/png'
    return np.asarray(Image.open(io.BytesIO(response.content)))


@pytest.fixture(scope='module')
def small(refiner):
    return refiner.with_settings(L=224)


@pytest.fixture
def queue():
    with JobQueue(size=2, threads=1) as queue:
        yield queue


@pytest.fixture
def app(small, queue):
    models = {'tiny': small, 'global': small.with_settings(steps='global', enlarge=False)}
    return create_app(models, queue, Limits(max_bytes=10**6, max_pixels=10**6))


@pytest.fixture
def client(app):
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def pair(photo, mask):
    return {'image': ('a.png', png(photo)), 'mask': ('b.png', png(mask.view(np.uint8) * 255))}


@pytest.fixture
def labels(mask):
    return mask.astype(np.uint8) * 3


def problem_of(response, status, argument=None):
    assert response.status_code == status, response.text
    assert response.headers['content-type'] == 'application/problem+json'
    problem = response.json()
    assert problem['status'] == status and problem.get('argument') == argument
    return problem['detail']


def test_a_mask_is_that_of_the_python_call(client, small, pair, photo, mask):
    expected = small.refine(photo, mask)
    assert 0 < (expected > 127).mean() < 1
    refined = pixels_of(client.post('/v1/refine', files=pair))
    assert np.array_equal(refined, (expected > 127) * np.uint8(255))
    form = {'output': 'probability'}
    assert np.array_equal(pixels_of(client.post('/v1/refine', files=pair, data=form)), expected)
    form = {'threshold': '0.8'}
    refined = pixels_of(client.post('/v1/refine', files=pair, data=form))
    assert np.array_equal(refined > 0, expected > 204)


def test_run_lengths_are_those_that_pycocotools_reads(client, small, pair, photo, mask):
    coco = pytest.importorskip('pycocotools.mask')
    response = client.post('/v1/refine', files=pair, headers={'Accept': 'application/json'})
    rle = coco.frPyObjects(response.json(), *mask.shape)
    assert np.array_equal(coco.decode(rle), small.refine(photo, mask) > 127)


def test_settings_and_models_reach_the_refiner(client, small, pair, photo, mask):
    chosen = small.with_settings(steps='global', enlarge=False)
    form = {'model': 'global', 'output': 'probability'}
    refined = pixels_of(client.post('/v1/refine', files=pair, data=form))
    assert_same_probability(refined, chosen.refine(photo, mask))
    form = {'fast': 'true', 'L': '256', 'region': 'object', 'output': 'probability'}
    refined = pixels_of(client.post('/v1/refine', files=pair, data=form))
    changed = small.with_settings(steps='global', L=256, region='object')
    assert_same_probability(refined, changed.refine(photo, mask))
    assert not np.array_equal(refined, small.refine(photo, mask))
    told = client.get('/v1/models').json()
    assert [(model['name'], model['default']) for model in told] == [
        ('tiny', True),
        ('global', False),
    ]
    assert told[1]['settings'] == chosen.settings()


def test_what_a_mask_means_can_be_said(client, pair, mask):
    files = {**pair, 'mask': ('m', png(mask.astype(np.uint8) * 2 + 1))}
    detail = problem_of(client.post('/v1/refine', files=files), 422, 'mask')
    assert 'mask_values=' in detail
    plain = pixels_of(client.post('/v1/refine', files=pair))
    said = client.post('/v1/refine', files=files, data={'mask_values': '2, 3'})
    assert np.array_equal(pixels_of(said), plain)


def test_a_mask_of_another_size_and_a_bound(client, small, pair, photo, mask):
    files = {**pair, 'mask': ('m', png(mask[::2, ::2].view(np.uint8) * 255))}
    assert 'resize_mask' in problem_of(client.post('/v1/refine', files=files), 422, 'mask')
    form = {'resize_mask': 'true', 'output': 'probability'}
    refined = pixels_of(client.post('/v1/refine', files=files, data=form))
    expected = small.refine(photo, mask[::2, ::2], resize_mask=True)
    assert np.array_equal(refined, expected)
    response = client.post('/v1/refine', files=pair, data={'max_change': '0'})
    assert np.array_equal(pixels_of(response) > 0, mask)
    assert 'more than max_change=0' in response.headers['Refiner-Warnings']


def test_label_maps(client, small, pair, photo, labels):
    files = {'image': pair['image'], 'labels': ('l', png(labels))}
    form = {'strategy': 'semantic', 'background': '0'}
    expected = small.refine_semantic(photo, labels, 'semantic', background=0)
    assert (expected != labels).any()
    refined = pixels_of(client.post('/v1/refine_semantic', files=files, data=form))
    assert refined.dtype == np.uint8 and np.array_equal(refined, expected)
    form['output'] = 'rle'
    classes = client.post('/v1/refine_semantic', files=files, data=form).json()['classes']
    whole = np.full(labels.size, 255)
    for part in classes:
        ends = np.cumsum(part['counts'])
        for start, stop in zip(ends[::2], ends[1::2], strict=False):
            whole[start:stop] = part['id']
    assert np.array_equal(whole.reshape(labels.shape[::-1]).T, expected)


def test_ids_above_255_are_kept(client, pair, photo, labels):
    files = {'image': pair['image'], 'labels': ('l', png(labels.astype(np.uint16) * 200))}
    refined = pixels_of(client.post('/v1/refine_semantic', files=files))
    assert set(np.unique(refined)) == {0, 600}


def test_stuff_and_classes_are_lists(client, pair, labels):
    files = {'image': pair['image'], 'labels': ('l', png(labels))}
    form = {'stuff': 'sky, 3', 'classes': 'cat,sky,dog,tree', 'strategy': 'scene'}
    assert client.post('/v1/refine_semantic', files=files, data=form).status_code == 200
    form['stuff'] = 'sea,'
    detail = problem_of(client.post('/v1/refine_semantic', files=files, data=form), 422, 'stuff')
    assert 'sea' in detail


@pytest.mark.parametrize('key', ['stuff', 'background'])
@pytest.mark.parametrize('text', ['²', '1' * 5000])
def test_digits_that_are_no_id_are_a_name(client, pair, labels, key, text):
    files = {'image': pair['image'], 'labels': ('l', png(labels))}
    form = {'strategy': 'semantic', 'classes': 'cat,sky,dog,tree', key: text}
    response = client.post('/v1/refine_semantic', files=files, data=form)
    assert text in problem_of(response, 422, key)


@pytest.mark.parametrize(
    ('change', 'form', 'argument', 'words'),
    [
        ({'mask': png(np.zeros((7, 9), np.uint8))}, {}, 'mask', 'size of the image'),
        ({'mask': b'no png'}, {}, 'mask', 'mask is not an image that can be read (6 bytes)'),
        ({'image': b''}, {}, 'image', 'image is not an image'),
        ({'mask': None}, {}, 'mask', 'Field required'),
        ({}, {'mask': 'text'}, 'mask', 'UploadFile'),
        ({}, {'treshold': '0.4'}, 'treshold', "there is no argument 'treshold'"),
        ({}, {'model': '/etc/passwd'}, 'model', "must be one of 'tiny', 'global', got"),
        ({}, {'L': '100'}, 'L', 'greater than or equal to 224'),
        ({}, {'L': 'large'}, 'L', 'valid integer'),
        ({}, {'overview': '1'}, 'overview', 'less than 1'),
        ({}, {'mask_values': 'person'}, 'mask_values', 'integers'),
    ],
)
def test_what_a_client_can_mend_is_said(client, pair, change, form, argument, words):
    files = {name: ('x', content) for name, (_, content) in pair.items()}
    files |= {name: ('x', content) for name, content in change.items()}
    if 'mask' in form or change.get('mask', b'') is None:
        del files['mask']
    response = client.post('/v1/refine', files=files, data=form)
    detail = problem_of(response, 422, argument)
    assert words in detail and tempfile.gettempdir() not in detail


def test_half_a_picture_is_refused(client, pair, photo):
    files = {**pair, 'image': ('a', png(photo)[:2000])}
    detail = problem_of(client.post('/v1/refine', files=files), 422, 'image')
    assert detail.startswith('image cannot be read as an image, it is truncated or damaged')


def test_other_addresses_and_methods_are_problems_too(client):
    assert problem_of(client.get('/v2'), 404) == 'Not Found'
    assert client.get('/v1/refine').headers['allow'] == 'POST'
    problem_of(client.get('/v1/refine'), 405)
    problem_of(
        client.post('/v1/refine', content=b'x', headers={'content-type': 'text/x'}), 422, 'image'
    )


def bomb(width, height):
    """A small PNG that unpacks to many pixels."""

    def chunk(kind, data):
        return (
            struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))
        )

    head = struct.pack('>IIBBBBB', width, height, 8, 0, 0, 0, 0)
    packed = zlib.compress(bytes(height * (width + 1)), 9)
    return b'\x89PNG\r\n\x1a\n' + b''.join(
        chunk(*part) for part in [(b'IHDR', head), (b'IDAT', packed), (b'IEND', b'')]
    )


@pytest.mark.parametrize('name', ['image', 'mask'])
def test_too_many_pixels_are_refused_before_they_are_unpacked(client, pair, name, monkeypatch):
    monkeypatch.setattr(ImageFile.ImageFile, 'load', lambda self: pytest.fail('unpacked'))
    monkeypatch.setattr(server, 'read_inputs', lambda *_, **__: pytest.fail('read'))
    files = {**pair, name: ('a', bomb(1001, 1000))}
    assert len(files[name][1]) < 5000
    detail = problem_of(client.post('/v1/refine', files=files), 413, name)
    assert '1001 x 1000 pixels' in detail and '--max-megapixels' in detail


def test_more_classes_than_can_be_held_are_refused(client, monkeypatch):
    monkeypatch.setattr(Refiner, 'refine_semantic', lambda *_, **__: pytest.fail('refined'))
    labels = png(np.tile(np.arange(5000, dtype=np.uint16), (200, 1)))  # a mask of 1 MB for each
    assert len(labels) < 50000
    files = {'image': ('a', png(np.zeros((200, 5000, 3), np.uint8))), 'labels': ('b', labels)}
    form = {'strategy': 'semantic', 'background': '0'}
    detail = problem_of(client.post('/v1/refine_semantic', files=files, data=form), 413, 'labels')
    assert '5000 classes, and at its size 4000' in detail


def test_too_many_bytes_are_refused_whether_declared_or_not(client, pair):
    files = {**pair, 'image': ('a', bytes(10**6))}
    detail = problem_of(client.post('/v1/refine', files=files), 413)
    assert 'at most 1 MB' in detail
    came = []

    def body():
        for _ in range(100):
            came.append(1)
            yield b'x' * 10**5

    problem_of(client.post('/v1/refine', content=body(), headers=MULTIPART), 413)


def test_a_full_queue_asks_to_come_back(client, queue, pair):
    go, runs = threading.Event(), threading.Event()
    queue.submit(lambda job: (runs.set(), go.wait(10)))
    runs.wait(10)
    waiting = [queue.submit(lambda job: None) for _ in range(2)]
    response = client.post('/v1/refine', files=pair)
    detail = problem_of(response, 503)
    assert '2 requests wait already' in detail and int(response.headers['retry-after']) >= 1
    assert client.get('/healthz').json()['waiting'] == 2  # others are answered
    go.set()
    waiting[-1].result(10)
    assert client.post('/v1/refine', files=pair).status_code == 200


def test_a_refinement_that_takes_too_long_is_no_reason_to_come_back(pair):
    network = Counting(lambda count: time.sleep(0.2))
    with JobQueue(size=2, threads=1, time_limit=0.1) as queue:
        client = TestClient(create_app({'slow': Refiner(network)}, queue))
        response = client.post('/v1/refine', files=pair)
    assert 'longer than 0.1 seconds' in problem_of(response, 504)
    assert 'retry-after' not in response.headers and len(network.passes) == 1


def test_names_that_clients_give_are_never_opened(client, pair, tmp_path, photo):
    secret = tmp_path / 'secret.png'
    secret.write_bytes(pair['image'][1])
    for name in (str(secret), f'../..{secret}', 'photo.npy', 'x' * 5000, 'a\x00.png', ''):
        files = {**pair, 'image': (name, b'no picture')}
        assert client.post('/v1/refine', files=files).status_code in (400, 422)
    plain = client.post('/v1/refine', files=pair).content
    renamed = {name: ('../../etc/passwd.tif', content) for name, (_, content) in pair.items()}
    assert client.post('/v1/refine', files=renamed).content == plain
    form = {'image': str(secret)}
    problem_of(client.post('/v1/refine', files={'mask': pair['mask']}, data=form), 422, 'image')


def test_no_upload_is_left(client, pair, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path))
    client.post('/v1/refine', files=pair)
    client.post('/v1/refine', files={**pair, 'mask': ('m', b'x')})
    client.post('/v1/refine', files={**pair, 'mask': ('m', bytes(2 * 10**6))})
    assert not list(tmp_path.iterdir())


def test_what_the_refiner_warns_of_comes_along(client, pair, small, queue, monkeypatch):
    def refine(self, *_, **__):
        warnings.warn('something is odd.', stacklevel=1)
        return np.zeros((2, 2), np.uint8)

    monkeypatch.setattr(Refiner, 'refine', refine)
    response = client.post('/v1/refine', files=pair)
    assert json.loads(response.headers['refiner-warnings']) == ['something is odd.']


def test_a_fault_of_the_server_is_told_without_its_inside(client, pair, monkeypatch):
    monkeypatch.setattr(Refiner, 'refine', lambda *_, **__: 1 // 0)
    detail = problem_of(client.post('/v1/refine', files=pair), 500)
    assert 'division' not in detail
    for error in (MemoryError('none'), DeviceMemoryError('the GPU lacks memory.')):
        monkeypatch.setattr(Refiner, 'refine', lambda *_, e=error, **__: (_ for _ in ()).throw(e))
        assert 'memory' in problem_of(client.post('/v1/refine', files=pair), 503)


def test_the_documentation_loads_nothing_from_elsewhere(client):
    page = client.get('/docs')
    sources = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(sources) > 1 and all(source.startswith('/') for source in sources)
    assert all(client.get(source).status_code == 200 for source in sources)
    described = client.get('/openapi.json').json()
    assert set(described['paths']) == {
        '/healthz',
        '/v1/models',
        '/v1/refine',
        '/v1/refine_semantic',
    }
    form = described['components']['schemas']['RefineForm']
    assert form['required'] == ['image', 'mask'] and form['additionalProperties'] is False


@pytest.fixture
def address(app):
    """A real server, as behind a proxy."""
    listener = listen('127.0.0.1', 0)
    config = uvicorn.Config(
        app, http=PatientProtocol, log_level='warning', root_path='/a', timeout_keep_alive=1
    )
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, kwargs={'sockets': [listener]})
    thread.start()
    yield listener.getsockname()
    running.should_exit = True
    thread.join(20)


def request_of(pair):
    """The bytes of a request, with its head."""
    parts = b''.join(
        f'--x\r\nContent-Disposition: form-data; name="{name}"; filename="a"\r\n\r\n'.encode()
        + content
        + b'\r\n'
        for name, (_, content) in pair.items()
    )
    body = parts + b'--x--\r\n'
    head = (
        'POST /v1/refine HTTP/1.1\r\nHost: a\r\nContent-Type: multipart/form-data; boundary=x\r\n'
        f'Content-Length: {len(body)}\r\n\r\n'
    )
    return head.encode() + body


def wait_until(told, seconds=10):
    end = time.monotonic() + seconds
    while not told():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_client_that_goes_away_stops_its_refinement(queue):
    image, mask = large_pair()
    go = threading.Event()
    network = Counting(lambda count: count > 3 and go.wait(10))
    app = create_app({'slow': Refiner(network)}, queue)
    with TestClient(app):  # as its lifespan
        listener = listen('127.0.0.1', 0)
        running = uvicorn.Server(uvicorn.Config(app, log_level='warning', lifespan='off'))
        thread = threading.Thread(target=running.run, kwargs={'sockets': [listener]})
        thread.start()
        request = request_of({'image': ('', png(image)), 'mask': ('', png(mask))})
        clients = [socket.create_connection(listener.getsockname()) for _ in range(2)]
        clients[0].sendall(request)
        wait_until(lambda: len(network.passes) == 4)  # in its first crop
        clients[1].sendall(request)
        wait_until(lambda: queue.waiting() == 1)
        (running_job,) = queue._running
        for client in clients:
            client.close()
        wait_until(lambda: queue.waiting() == 0)
        wait_until(lambda: running_job._stopped.is_set())
        go.set()
        with pytest.raises(CancelledError):
            running_job.result(10)
        assert len(network.passes) == 4
        running.should_exit = True
        thread.join(20)


def test_a_client_that_sends_all_before_it_listens_gets_its_answer(address, pair):
    connection = HTTPConnection(*address, timeout=20)
    body = bytes(10**6 + 5 * 10**5)
    connection.request('POST', '/v1/refine', body, MULTIPART)
    response = connection.getresponse()
    assert response.status == 413 and json.load(response)['status'] == 413


def test_a_client_that_announces_too_much_is_refused_at_once(address):
    client = socket.create_connection(address)
    client.sendall(
        b'POST /v1/refine HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n'
        b'Content-Type: multipart/form-data; boundary=x\r\nExpect: 100-continue\r\n\r\n'
    )
    assert client.recv(100).startswith(b'HTTP/1.1 413')
    client.close()


def test_an_address_that_is_taken_is_said():
    with listen('127.0.0.1', 0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(FileError, match=f'127.0.0.1:{port} cannot be listened at: Address'):
            listen('127.0.0.1', port)
    with pytest.raises(FileError, match='65536'):
        listen('127.0.0.1', 65536)


def test_a_request_that_does_not_come_is_given_up(address, pair, monkeypatch):
    monkeypatch.setattr(limits, 'PATIENCE', 0.2)
    request = request_of(pair)
    client = socket.create_connection(address, timeout=10)
    client.sendall(request[:-50])
    answer = client.recv(1000)
    while b'}' not in answer:
        answer += client.recv(1000)
    assert answer.startswith(b'HTTP/1.1 408') and b'"status": 408' in answer
    assert client.recv(1) == b'', 'the connection stays open'
    client.close()


@pytest.mark.parametrize('earlier', [False, True])
@pytest.mark.parametrize('sent', [b'', b'GET /healthz HTTP/1.1\r\nHost'])
def test_connections_on_which_no_request_comes_are_ended(address, monkeypatch, sent, earlier):
    monkeypatch.setattr(listening, 'PATIENCE', 0.3)
    client = socket.create_connection(address, timeout=10)
    if earlier:  # one that stays open for the next
        client.sendall(b'GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n')
        answer = b''
        while not answer.endswith(b'}'):
            answer += client.recv(1000)
        assert answer.startswith(b'HTTP/1.1 200')
    client.sendall(sent)
    start = time.monotonic()
    while sent and time.monotonic() < start + 0.2:  # as slowly as it likes
        client.sendall(b'x')
        time.sleep(0.05)
    assert client.recv(1) == b'' and time.monotonic() < start + 5
    client.close()


def test_a_server_that_is_to_end_gives_its_refinements_up(queue):
    """What runs ends with its pass, and all that wait are asked to come back."""
    image, mask = large_pair()
    go, statuses = threading.Event(), []
    network = Counting(lambda count: count == 5 and go.wait(10))
    app = create_app({'slow': Refiner(network)}, queue)
    config = uvicorn.Config(app, log_level='warning', timeout_graceful_shutdown=2)
    running = listening._Server(config)
    listener = listen('127.0.0.1', 0)
    serving = threading.Thread(target=running.run, kwargs={'sockets': [listener]})
    serving.start()
    request = request_of({'image': ('', png(image)), 'mask': ('', png(mask))})

    def post():
        with socket.create_connection(listener.getsockname(), timeout=20) as client:
            client.sendall(request)
            statuses.append(client.recv(1000))

    clients = [threading.Thread(target=post) for _ in range(2)]
    for client, waiting in zip(clients, (0, 1), strict=True):
        client.start()
        wait_until(lambda n=waiting: len(network.passes) == 5 and queue.waiting() == n)
    start = time.monotonic()
    running.should_exit = True
    wait_until(lambda: queue._closed)
    go.set()
    for thread in (*clients, serving):
        thread.join(10)
    assert not serving.is_alive() and time.monotonic() - start < 5
    assert len(network.passes) == 5
    assert [status[:12] for status in statuses] == [b'HTTP/1.1 503'] * 2
    assert all(b'retry-after' in status.lower() for status in statuses)
