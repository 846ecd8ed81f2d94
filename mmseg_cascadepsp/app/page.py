"""The page to try it on: a photo and its mask in, the refined mask out, all on this machine."""

import asyncio
import logging
import tempfile
from collections.abc import Mapping
from concurrent.futures import CancelledError
from functools import partial
from pathlib import Path

import numpy as np

from mmseg_cascadepsp.apis import Refiner
from mmseg_cascadepsp.errors import InvalidValueError, UserError, one_line
from mmseg_cascadepsp.files.mask_values import Reading, parse_values
from mmseg_cascadepsp.files.photos import read_image
from mmseg_cascadepsp.files.samples import PHOTOS, load_sample
from mmseg_cascadepsp.files.writing import write_png
from mmseg_cascadepsp.models.refiner.zoo import shipped_folder

from . import extra, work
from .jobs import Job, JobQueue
from .layout import (
    KEPT,
    PAINT,
    PROPOSE,
    SHOW_RESULT,
    STYLE,
    UPLOAD,
    Form,
    Parts,
    on_page,
    said,
    why_kept,
)
from .limits import Limits, check_pixels, path_of
from .server import told_fault

with extra():
    import gradio as gr
    from fastapi import FastAPI

ALL = 'all of them, as a label map'
#: Seconds between two looks at a job.
TICK = 0.2
#: The document may load and send nothing but from and to this server, whatever is in it.
CONTAINED = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; form-action 'self'; "
    "base-uri 'self'; frame-ancestors 'self'"
)


class Contained:
    """ASGI: gives the page the policy :data:`CONTAINED`."""

    def __init__(self, app, path: str) -> None:
        self.app, self.path = app, path

    async def __call__(self, scope, receive, send):
        """Answer a request."""
        if scope['type'] != 'http' or path_of(scope) != self.path:
            return await self.app(scope, receive, send)

        async def send_with_policy(message):
            if message['type'] == 'http.response.start':
                policy = (b'content-security-policy', CONTAINED.encode())
                message['headers'] = [*message.get('headers', ()), policy]
            await send(message)

        return await self.app(scope, receive, send_with_policy)


def sentence_of(error: BaseException | str, *paths: str | None) -> str:
    """What is wrong and how to mend it, with files and settings called as the user sees them."""
    text = error if isinstance(error, str) else one_line(error)
    for path in filter(None, paths):
        text = text.replace(f'{Path(path).parent}/', '')
    return on_page(text)


def progress(job: Job) -> str:
    """How far a job is, in words."""
    if job.text in ('waiting', 'running'):
        return 'It waits for its turn ...' if job.text == 'waiting' else 'Refining ...'
    return f'Refining: {job.text} ...'


class Page:
    """The page and what it does.

    Args:
        refiners: Name -> refiner, of which a user chooses one.
        queue: Where refinements wait their turn.
        limits: What photos and masks may bring.
    """

    def __init__(self, refiners: Mapping[str, Refiner], queue: JobQueue, limits: Limits) -> None:
        self.refiners, self.queue, self.limits = refiners, queue, limits
        self.running: dict[str, Job] = {}  # of a session of a browser
        self.folder = tempfile.TemporaryDirectory(prefix='mmseg_cascadepsp_')
        self.examples = self._examples()
        with gr.Blocks(
            analytics_enabled=False, title='mmseg-cascadepsp', delete_cache=(KEPT, KEPT)
        ) as self.blocks:
            self.parts = Parts(refiners, [photo for photo, _ in self.examples])
            self._connect()

    def _examples(self) -> list[tuple[str, str]]:
        """(photo, mask) of the demo; none where scikit-image or the masks are missing."""
        masks, found = shipped_folder('demo') / 'masks', []
        for name in PHOTOS:
            try:
                sample = load_sample(name, masks)
            except UserError:
                continue
            photo = Path(self.folder.name, f'{name}.png')
            write_png(photo, sample.image)
            found.append((str(photo), str(masks / 'coarse' / f'{name}.png')))
        return found

    def _connect(self) -> None:
        parts, hidden = self.parts, {'api_visibility': 'private', 'show_progress': 'hidden'}
        shown = [parts.understood, parts.note]
        look = {'fn': self.show_mask, 'inputs': parts.given, 'outputs': shown, **hidden}
        canvas = {
            'fn': self.fill_canvas,
            'inputs': [parts.photo, parts.source, parts.on_canvas],
            'outputs': [parts.editor, parts.on_canvas],
            **hidden,
        }
        forget = {
            'fn': lambda: (None, gr.Radio(visible=False)),
            'outputs': [parts.proposal, parts.thing],
            **hidden,
        }
        parts.photo.change(**forget).then(**canvas).then(**look)
        parts.source.change(
            lambda source: [gr.Group(visible=source == kind) for kind in (UPLOAD, PAINT, PROPOSE)],
            parts.source,
            [parts.uploading, parts.painting, parts.proposing],
            **hidden,
        ).then(**canvas).then(**look)
        for part in (parts.mask, parts.several, parts.resize, parts.values, parts.thing):
            part.change(**look)
        if self.examples:
            parts.dataset.click(
                lambda index: (*self.examples[index], UPLOAD, False),
                parts.dataset,
                [parts.photo, parts.mask, parts.source, parts.several],
                **hidden,
            )
        parts.find.click(
            self.find_things,
            parts.photo,
            [parts.proposal, parts.thing, parts.note, parts.find],
            concurrency_limit=None,
            **hidden,
        )
        parts.refine.click(
            self.run,
            [*parts.given, *parts.chosen],
            [
                *(parts.note, parts.status, parts.refine, parts.cancel, parts.slider, parts.zoom),
                *(parts.details, parts.probability, *parts.downloads.values()),
            ],
            concurrency_limit=None,  # the queue limits it
            trigger_mode='once',
            **hidden,
        ).then(None, js=SHOW_RESULT, **hidden)
        parts.cancel.click(self.give_up, queue=False, **hidden)
        self.blocks.unload(self.give_up)

    def give_up(self, request: gr.Request) -> None:
        """End what this session runs."""
        if job := self.running.get(request.session_hash):
            job.cancel()

    def fill_canvas(self, photo, source, on_canvas):
        """Put the photo, small, where it is painted on; what was painted on it stays."""
        if source != PAINT or photo == on_canvas:
            return gr.skip(), gr.skip()
        if photo is None:
            return None, None
        try:
            check_pixels('image', Path(photo), self.limits)
            image = work.to_paint_on(read_image(photo))
        except UserError:  # the note says it
            return None, None
        return {'background': image, 'layers': [], 'composite': None}, photo

    def read(self, form: Form) -> work.Given:
        """What is to be refined.

        Raises:
            UserError: It cannot be read, or something is missing.
        """
        if form.photo is None:
            raise InvalidValueError('there is no photo yet: choose one, or one of the examples.')
        photo = Path(form.photo)
        mask = form.mask if form.source == UPLOAD else None
        for path in filter(None, (form.photo, mask)):
            if not Path(path).exists():  # the server was started again, or an hour has gone by
                raise InvalidValueError(
                    f'the server no longer has {Path(path).name}: choose photo and mask once more.'
                )
        check_pixels('image', photo, self.limits)
        if form.source == UPLOAD:
            if form.mask is None:
                raise InvalidValueError(
                    'there is no mask yet: choose a file, paint it, or let it be proposed.'
                )
            check_pixels('mask', Path(form.mask), self.limits)
            values = (form.values or '').strip()
            reading = Reading(mask_values=parse_values(values) if values else None)
            return work.read_given(photo, Path(form.mask), form.several, form.resize, reading)
        image = read_image(photo)
        if form.source == PAINT:
            layers = form.editor['layers'] if form.editor else []
            mask = work.painted_mask(layers, image.shape[:2], form.fill)
            return work.Given(photo.stem, image, mask)
        if form.proposal is None or form.thing is None:
            raise InvalidValueError(
                'nothing is proposed yet: press "Find persons, cats and horses".'
            )
        labels, names = form.proposal
        mask = labels if form.thing == ALL else labels == names.index(form.thing)
        return work.Given(photo.stem, image, mask)

    def show_mask(self, *values):
        """How the mask is understood, or what is wrong with it."""
        form, hidden = Form(*values), gr.Image(visible=False)
        there = {UPLOAD: form.mask, PAINT: None, PROPOSE: form.proposal and form.thing}
        if form.photo is None or there[form.source] is None:
            return hidden, ''
        try:
            given = self.read(form)
        except UserError as error:
            return hidden, said('wrong', sentence_of(error, form.photo, form.mask))
        return gr.Image(work.preview(given), visible=True), ''

    async def find_things(self, photo):
        """Let the segmentor propose masks."""
        idle = gr.Button('Find persons, cats and horses', interactive=True)
        nothing = None, gr.Radio(visible=False)
        if photo is None:
            yield *nothing, said('wrong', 'there is no photo yet: choose one.'), idle
            return
        yield *nothing, '', gr.Button('Looking ...', interactive=False)
        try:
            check_pixels('image', Path(photo), self.limits)
            job = self.queue.submit(lambda job: work.propose(read_image(photo)))
            while not job.wait(0):
                await asyncio.sleep(TICK)
            labels, names = job.result()
        except UserError as error:
            yield *nothing, said('wrong', sentence_of(error, photo)), idle
            return
        found = [names[index] for index in np.unique(labels) if index]
        if not found:
            yield *nothing, said('note', 'There is no person, cat or horse in sight.'), idle
            return
        choices = [*found, ALL] if len(found) > 1 else found
        yield (
            (labels, names),
            gr.Radio(choices, value=found[0], visible=True),
            said(
                'note',
                'A small network proposes this, which knows no other things: see '
                'whether it is right.',
            ),
            idle,
        )

    async def run(self, request: gr.Request, *values):
        """Refine, and tell how far it is."""
        count = len(self.parts.given)
        form, session = Form(*values[:count]), request.session_hash
        paths = form.photo, form.mask
        if session in self.running:  # a second click, however it came
            yield self.changes(busy=True)
            return
        with tempfile.TemporaryDirectory(dir=self.folder.name) as folder:
            try:
                refiner, choices = self.chosen(*values[count:])
                call = partial(
                    self._work, form=form, refiner=refiner, choices=choices, folder=folder
                )
                job = self.running[session] = self.queue.submit(call)
                while not job.wait(0):
                    yield self.changes(said('fine', progress(job), job.share), busy=True, note='')
                    await asyncio.sleep(TICK)
                yield self.outcome(*job.result(), job.warnings, paths)
            except CancelledError:
                yield self.changes(said('note', 'Cancelled.'))
            except UserError as error:
                # Once: what is wrong with the input stands above the button already.
                yield self.changes('', note=said('wrong', sentence_of(error, *paths)))
            except Exception as error:  # or the page would wait for ever
                logging.getLogger('uvicorn.error').error('on the page:', exc_info=error)
                yield self.changes('', note=said('wrong', told_fault(error)))
            finally:
                if job := self.running.pop(session, None):
                    job.cancel()

    def chosen(
        self, model, overview, max_change, keep_accurate, region, L, strategy
    ) -> tuple[Refiner, work.Choices]:
        """The refiner and the settings that are chosen."""
        settings = {
            'max_change': max_change / 100 if max_change < 100 else None,
            'keep_accurate': keep_accurate,
            'region': region,
            'L': int(L),
        }
        if overview >= 0:
            settings['overview'] = overview or None
        return self.refiners[model], work.Choices(settings, strategy)

    def outcome(self, told, pictures, files, warned, paths) -> dict:
        """What a page shows of a result."""
        shown, zoomed, soft = pictures
        notes = [said('note', sentence_of(text, *paths)) for text in warned]
        buttons = {
            button: gr.DownloadButton(
                value=str(files[kind]) if kind in files else None, visible=kind in files
            )
            for kind, button in self.parts.downloads.items()
        }
        return {
            **self.changes(told + ''.join(notes), note=''),
            self.parts.details: gr.Column(visible=True),
            self.parts.slider: shown,
            self.parts.zoom: zoomed,
            self.parts.probability: gr.Image(soft, visible=soft is not None),
            **buttons,
        }

    def _work(self, job: Job, form, refiner, choices, folder):
        """In the queue's thread: from files to files."""
        result = work.refine(job, refiner, self.read(form), choices)
        told = said('fine', f'Refined: {result.told} ({result.seconds:.1f} s).')
        if result.report is not None:
            told = said('note', f'The mask stays as it was: {why_kept(result.report)}')
        return told, work.pictures(result), work.write(result, Path(folder))

    def changes(
        self, status: str | None = None, busy: bool = False, note: str | None = None
    ) -> dict:
        """The status, the note, and the buttons of a page that is busy or not."""
        label = 'Refining ...' if busy else 'Refine'
        return {
            self.parts.status: gr.skip() if status is None else status,
            self.parts.note: gr.skip() if note is None else note,
            self.parts.refine: gr.Button(label, interactive=not busy),
            self.parts.cancel: gr.Button(visible=busy),
        }


def mount_page(
    app: FastAPI, models: Mapping[str, Refiner], queue: JobQueue, limits: Limits | None = None
) -> FastAPI:
    """Put the page at the root of a server.

    Args:
        app: The server, such as of :func:`~mmseg_cascadepsp.app.server.create_app`. What it
            answers itself it still does.
        models: Refiners by the names that a user chooses from. The first is the default.
        queue: Where refinements wait.
        limits: What photos and masks may bring.

    Returns:
        The same server.
    """
    limits = limits or Limits()
    page = Page(models, queue, limits)
    app.add_middleware(Contained, path='/')
    return gr.mount_gradio_app(
        app,
        page.blocks,
        '/',
        max_file_size=limits.max_bytes,
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        pwa=False,
        enable_monitoring=False,
        mcp_server=False,
        theme=gr.themes.Base(
            primary_hue='cyan',
            neutral_hue='slate',
            font=['system-ui', 'sans-serif'],
            font_mono=['ui-monospace', 'monospace'],
        ),
        css=STYLE,
    )
