"""Sixteen clients at once, garbage and limits among what they send: nothing is lost or wrong, and
the server is afterwards as before.
"""

import json
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmseg_cascadepsp.files.samples import load_sample
from mmseg_cascadepsp.files.writing import write_png
from mmseg_cascadepsp.models.refiner.zoo import shipped_folder

#: REQUESTS=500 tries longer.
CLIENTS, REQUESTS = 16, int(os.environ.get('REQUESTS', 120))
SIDES = (24, 60, 97, 180, 320)


def png(pixels):
    return cv2.imencode('.png', pixels[..., ::-1] if pixels.ndim == 3 else pixels)[1].tobytes()


def form(**parts):
    """A multipart body: files are bytes, options text."""
    lines = []
    for name, value in parts.items():
        file = '; filename="x"' if isinstance(value, bytes) else ''
        lines += [b'--x', f'Content-Disposition: form-data; name="{name}"{file}'.encode(), b'']
        lines.append(value if file else value.encode())
    return b'\r\n'.join([*lines, b'--x--', b''])


class Server:
    """``mmseg-cascadepsp serve`` in a process of its own."""

    def __init__(self, *arguments):
        command = [sys.executable, '-m', 'mmseg_cascadepsp', 'serve', '--port', '0', *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.port = int(re.search(r':(\d+) ', self.process.stdout.readline())[1])

    def ask(self, path, body, method='POST'):
        """Status and body of the answer; again, as long as too many wait."""
        while True:
            connection = HTTPConnection('127.0.0.1', self.port, timeout=120)
            head = {'Content-Type': 'multipart/form-data; boundary=x'}
            connection.request(method, path, body, head)
            response = connection.getresponse()
            content = response.read()
            connection.close()
            if response.status != 503:
                return response, content
            assert int(response.headers['Retry-After']) > 0
            assert json.loads(content)['status'] == 503
            time.sleep(0.05)

    def leave(self, body):
        """Ask and do not wait for the answer."""
        connection = HTTPConnection('127.0.0.1', self.port, timeout=120)
        connection.request(
            'POST', '/v1/refine', body, {'Content-Type': 'multipart/form-data; boundary=x'}
        )
        connection.close()

    def resident(self):
        """Megabytes of memory that the process has."""
        status = Path(f'/proc/{self.process.pid}/status').read_text()
        return int(re.search(r'VmRSS:\s+(\d+)', status)[1]) / 1024

    def peak(self):
        """Megabytes that it had at most."""
        status = Path(f'/proc/{self.process.pid}/status').read_text()
        return int(re.search(r'VmHWM:\s+(\d+)', status)[1]) / 1024

    def seconds(self):
        """Processor time that it has taken."""
        fields = Path(f'/proc/{self.process.pid}/stat').read_text().rpartition(')')[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')

    def opened(self):
        return len(list(Path(f'/proc/{self.process.pid}/fd').iterdir()))


def running(*arguments):
    server = Server(*arguments, '--device', 'cpu', '--precision', 'fp32', '--threads', '1')
    yield server
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(30) == 143


@pytest.fixture(scope='module')
def tiny(tiny_config, tiny_checkpoint):
    return '--model', str(tiny_config), '--checkpoint', str(tiny_checkpoint)


@pytest.fixture(scope='module')
def server(tiny):
    limits = '--max-waiting', '8', '--max-megapixels', '0.2', '--max-megabytes', '2'
    yield from running(*tiny, *limits)


@pytest.fixture(scope='module')
def plain_server(tiny):
    yield from running(*tiny)


@pytest.fixture(scope='module')
def cases(refiner):
    """(path, body, what is right of status and answer)."""
    rng, found, small = np.random.default_rng(0), [], refiner.with_settings(L=224)
    for height in SIDES:
        width = height * 3 // 2
        image = rng.integers(0, 256, (height, width, 3), np.uint8)
        mask = np.zeros((height, width), np.uint8)
        mask[height // 4 : -height // 4, width // 4 : -width // 4] = 255
        both = {'image': png(image), 'mask': png(mask), 'L': '224'}
        right = small.refine(image, mask)
        found += [
            ('/v1/refine', form(**both), lambda c, r=right: is_mask(pixels_of(c), r)),
            (
                '/v1/refine',
                form(**both, output='probability'),
                lambda c, r=right: (abs(pixels_of(c) - r.astype(int)) <= 1).all(),
            ),
            ('/v1/refine', form(**both, output='rle'), lambda c, r=right: is_mask(unpacked(c), r)),
        ]
        labels = mask // 255 * 7
        right = small.refine_semantic(image, labels)
        both = {'image': png(image), 'labels': png(labels), 'L': '224'}
        found.append(
            (
                '/v1/refine_semantic',
                form(**both),
                lambda c, r=right: (pixels_of(c) == r).mean() > 0.999,
            )
        )
    good = {'image': png(image), 'mask': png(mask), 'L': '224'}
    for status, body in [
        (422, form(**{**good, 'mask': b'garbage'})),
        (422, form(**{**good, 'image': good['image'][:5000]})),
        (422, form(**{**good, 'mask': png(mask[:9])})),
        (422, form(**{**good, 'mask': png(rng.integers(0, 9, (height, width), np.uint8))})),
        (422, form(**good, unknown='1')),
        (422, form(**{**good, 'L': '-4'})),
        (422, form(image=good['image'])),
        (400, b'--x\r\nno form at all'),
        (413, form(**{**good, 'image': png(np.zeros((500, 500, 3), np.uint8))})),
        (413, form(**{**good, 'image': bytes(2_100_000)})),
    ]:
        found.append(('/v1/refine', body, status))
    return found


def pixels_of(content):
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    assert pixels.dtype == np.uint8
    return pixels


def unpacked(content):
    rle = json.loads(content)
    values = np.arange(len(rle['counts'])) % 2 * np.uint8(255)
    return values.repeat(rle['counts']).reshape(rle['size'][::-1]).T


def is_mask(mask, probability):
    """Whether it is the mask of a probability, up to rounding: requests may run together."""
    return (
        np.isin(mask, (0, 255)).all()
        and not (((mask > 0) != (probability > 127)) & (abs(probability - 127.5) > 1)).any()
    )


def check(server, case):
    path, body, right = case
    response, content = server.ask(path, body)
    if callable(right):
        assert response.status == 200, content
        assert right(content)
    else:
        assert response.status == right, content
        assert response.headers['Content-Type'] == 'application/problem+json'
        assert json.loads(content)['detail']


@pytest.mark.slow
def test_many_clients(server, cases):
    for case in cases:  # every size and kind once, for what is kept from then on
        check(server, case)
    with ThreadPoolExecutor(CLIENTS) as clients:
        list(clients.map(lambda case: check(server, case), cases * 2))
    time.sleep(3)
    memory, opened = server.resident(), server.opened()
    chosen = random.Random(1).choices(cases, k=REQUESTS)
    done = threading.Semaphore(0)

    def work(numbered):
        number, case = numbered
        if number % 10 == 0:
            server.leave(case[1])
        check(server, case)
        done.release()

    start = time.monotonic()
    with ThreadPoolExecutor(CLIENTS) as clients:
        list(clients.map(work, enumerate(chosen)))
    took = time.monotonic() - start
    assert all(done.acquire(blocking=False) for _ in range(REQUESTS))
    end = time.monotonic() + 20
    while server.opened() > opened or server.resident() > memory + 16:
        assert time.monotonic() < end, (server.opened(), opened, server.resident(), memory)
        time.sleep(0.5)
    health = json.loads(server.ask('/healthz', None, 'GET')[1])
    assert health['waiting'] == 0
    print(f'{REQUESTS} in {took:.1f} s; {memory:.0f} MB before, {server.resident():.0f} after')


@pytest.mark.slow
@pytest.mark.skipif(
    'TIMINGS' not in os.environ, reason='TIMINGS=1, on a machine without other work'
)
@pytest.mark.parametrize('side', [224, 512, 1024, 2048])
def test_a_request_costs_little_more_than_the_call(plain_server, refiner, side, tmp_path):
    """At most 50 ms beyond a call that reads the same files and writes the mask as PNG."""
    fast = refiner.with_settings(L=224, steps='global')
    sample = load_sample('coffee', shipped_folder('demo') / 'masks')
    image = cv2.resize(sample.image, (side, side))
    mask = cv2.resize(sample.coarse.view(np.uint8) * 255, (side, side)) // 128 * 255
    photo, coarse = tmp_path / 'photo.png', tmp_path / 'mask.png'
    photo.write_bytes(png(image))
    coarse.write_bytes(png(mask))
    body = form(image=png(image), mask=png(mask), L='224', fast='true')
    overheads, count = [], 40 if side < 1000 else 10
    for number in range(count + 1):
        if number == 1:  # what is made once is made
            spent, overheads = plain_server.seconds(), []
        before, start = time.process_time(), time.monotonic()
        write_png(tmp_path / 'refined.png', fast.refine(photo, coarse) > 127)
        alone, bare = time.process_time() - before, time.monotonic() - start
        start = time.monotonic()
        assert plain_server.ask('/v1/refine', body)[0].status == 200
        overheads.append(time.monotonic() - start - bare)
    median, spent = statistics.median(overheads), (plain_server.seconds() - spent) / count - alone
    print(f'{side}: median overhead {median * 1000:.1f} ms, processor {spent * 1000:.1f} ms')
    assert median < 0.05
