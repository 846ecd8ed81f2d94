"""The page to try it on: a photo and its mask in, the refined mask out, all on this machine."""

import asyncio
import html
import tempfile
from collections.abc import Mapping
from concurrent.futures import CancelledError
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mmseg_cascadepsp.apis import Refiner
from mmseg_cascadepsp.errors import InvalidValueError, UserError, one_line
from mmseg_cascadepsp.files.mask_values import Reading, parse_values
from mmseg_cascadepsp.files.photos import read_image
from mmseg_cascadepsp.files.samples import PHOTOS, load_sample
from mmseg_cascadepsp.files.writing import write_png
from mmseg_cascadepsp.models.refiner.zoo import shipped_folder

from . import extra, work
from .forms import MAX_L, MIN_L
from .jobs import Job, JobQueue
from .limits import Limits, check_pixels, path_of

with extra():
    import gradio as gr
    from fastapi import FastAPI

UPLOAD, PAINT, PROPOSE = 'upload a file', 'paint it', 'let it be proposed'
ALL = 'all of them, as a label map'
#: Seconds between two looks at a job.
TICK = 0.2
#: Files that nobody fetched are deleted after so many seconds; they are looked for as often.
KEPT = 3600

STYLE = """
.gradio-container{max-width:1500px!important;width:100%;margin:auto}
#head h1{margin:0 0 .1em;font-size:1.7rem}#head p{margin:0;opacity:.8}
.said{padding:.55em .8em;border-radius:8px;border-left:4px solid;line-height:1.4}
.said.wrong{border-color:#d33;background:#d3332218}
.said.note{border-color:#d80;background:#d8800018}
.said.fine{border-color:#0aa3cc;background:#0aa3cc18}
.said progress{width:100%;height:.6em;accent-color:#0aa3cc}
.legend b{font-weight:600}.legend .before{color:#e0650c}.legend .after{color:#0aa3cc}
#mask{border:0;outline:0}#mask *{outline-offset:-2px}
#refine{min-height:3rem;font-size:1.05rem}
"""
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


def said(kind: str, text: str, share: float | None = None) -> str:
    """A box with a sentence: ``'wrong'``, ``'note'`` or ``'fine'``.

    Example:
        >>> said('wrong', 'a < b')
        '<div class="said wrong" role="alert">a &lt; b</div>'
    """
    bar = '' if share is None else f'<progress value="{share:.3f}"></progress>'
    role = 'alert' if kind == 'wrong' else 'status'
    return f'<div class="said {kind}" role="{role}">{html.escape(text)}{bar}</div>'


def sentence_of(error: BaseException | str, *paths: str | None) -> str:
    """What is wrong, with files called as the user calls them, not as the server does."""
    text = error if isinstance(error, str) else one_line(error)
    for path in filter(None, paths):
        text = text.replace(f'{Path(path).parent}/', '')
    return text


def progress(job: Job) -> str:
    """How far a job is, in words."""
    if job.text in ('waiting', 'running'):
        return 'It waits for its turn ...' if job.text == 'waiting' else 'Refining ...'
    return f'Refining: {job.text} ...'


class Form(NamedTuple):
    """What a user has given, as the parts of the page hand it on."""

    photo: str | None
    source: str
    mask: str | None
    several: bool
    resize: bool
    values: str | None
    editor: dict | None
    fill: bool
    proposal: tuple[np.ndarray, list[str]] | None
    thing: str | None


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
            self._lay_out()
            self._connect()

    # What is on it ----------------------------------------------------------------------------

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

    def _lay_out(self) -> None:
        gr.Markdown(
            '# Masks whose boundaries follow the photo\nYour photo and a coarse mask of an object '
            'in it go in, a sharp mask comes out. Nothing leaves this machine.',
            elem_id='head',
        )
        self.proposal, self.on_canvas = gr.State(time_to_live=KEPT), gr.State()
        with gr.Row():
            with gr.Column(scale=4, min_width=330):
                self._lay_out_inputs()
            with gr.Column(scale=6, min_width=330):
                self._lay_out_results()

    def _lay_out_inputs(self) -> None:
        self.photo = gr.Image(
            label='1. Photo',
            type='filepath',
            image_mode=None,
            sources=['upload', 'clipboard'],
            height=250,
            elem_id='photo',
        )
        # The very file, not a copy that Pillow has made. (Gradio writes a .pyi beside a subclass.)
        self.photo.preprocess = lambda payload: None if payload is None else payload.path
        if self.examples:
            self.dataset = gr.Dataset(
                components=[self.photo],
                samples=[[photo] for photo, _ in self.examples],
                type='index',
                label='or one of these, with its mask',
                elem_id='examples',
            )
        self.source = gr.Radio(
            [UPLOAD, PAINT, PROPOSE], value=UPLOAD, label='2. Its mask', elem_id='source'
        )
        with gr.Group() as self.uploading:
            self.mask = gr.File(
                label='mask: PNG, label map, or a cut-out with alpha',
                file_types=['image'],
                type='filepath',
                height=110,
                elem_id='mask',
            )
            self.several = gr.Radio(
                [('one object', False), ('several classes (a label map)', True)],
                value=False,
                label='What it shows',
                elem_id='several',
            )
            self.resize = gr.Checkbox(
                label='stretch it to the photo if it has another size', elem_id='resize'
            )
        with gr.Group(visible=False) as self.painting:
            self.editor = gr.ImageEditor(
                label='paint over the object, or draw a closed line around it',
                type='numpy',
                sources=(),
                transforms=(),
                layers=False,
                brush=gr.Brush(default_size=24, colors=['rgb(0, 200, 255)'], color_mode='fixed'),
                height=480,
                elem_id='editor',
            )
            self.fill = gr.Checkbox(value=True, label='fill closed lines', elem_id='fill')
        with gr.Group(visible=False) as self.proposing:
            self.find = gr.Button('Find persons, cats and horses', elem_id='find')
            self.thing = gr.Radio([], label='Refine', visible=False, elem_id='thing')
        with gr.Row():
            self.refine = gr.Button('Refine', variant='primary', elem_id='refine')
            self.cancel = gr.Button('Cancel', variant='stop', visible=False, elem_id='cancel')
        self.note = gr.HTML(elem_id='note')
        self.understood = gr.Image(
            label='how the mask is understood',
            interactive=False,
            visible=False,
            height=240,
            buttons=[],
            elem_id='understood',
        )
        self._lay_out_settings()

    def _lay_out_settings(self) -> None:
        names = list(self.refiners)
        with gr.Accordion('Settings', open=False, elem_id='settings'):
            self.model = gr.Dropdown(
                names, value=names[0], label='Model', visible=len(names) > 1, elem_id='model'
            )
            self.overview = gr.Radio(
                [('as the model does', -1), ('its edges alone', 0), ('larger errors, too', 0.5)],
                value=-1,
                label='What may change of the mask',
                elem_id='overview',
            )
            self.max_change = gr.Slider(
                1,
                100,
                value=100,
                step=1,
                label='How far it may change, in per cent of it',
                info='a mask that would change more stays as it was',
                elem_id='max_change',
            )
            self.region = gr.Radio(
                [
                    ('closely where they are small', 'auto'),
                    ('always closely', 'object'),
                    ('never: the whole photo', 'photo'),
                ],
                value='auto',
                label='Small objects are looked at',
                elem_id='region',
            )
            self.L = gr.Slider(
                MIN_L,
                MAX_L,
                value=next(iter(self.refiners.values())).cascade.L,
                step=4,
                label='L: how much of the photo is seen at once, in pixels',
                info='less needs less memory; the paper has 900',
                elem_id='L',
            )
            self.strategy = gr.Radio(
                [
                    ('each part by itself, for many classes', 'scene'),
                    ('each class over the whole photo; class 0 is background', 'semantic'),
                ],
                value='scene',
                label='Classes of a label map are refined',
                elem_id='strategy',
            )
            self.values = gr.Textbox(
                label='mask_values: what is object in the mask',
                info="where the mask's values don't say it: numbers such as 3, 5, or soft",
                elem_id='values',
            )

    def _lay_out_results(self) -> None:
        self.status = gr.HTML(
            said('fine', 'Choose a photo and its mask, then press Refine.'), elem_id='status'
        )
        self.slider = gr.ImageSlider(
            label='before | after',
            format='jpeg',
            max_height=640,
            buttons=['fullscreen'],
            elem_id='slider',
        )
        with gr.Column(visible=False) as self.details:
            with gr.Row():
                self.downloads = {
                    kind: gr.DownloadButton(
                        f'⤓ {kind}', size='md', min_width=110, elem_id=f'get-{kind}'
                    )
                    for kind in work.KINDS
                }
            with gr.Row(equal_height=True):
                self.zoom = gr.ImageSlider(
                    label='where it changed most: before | after',
                    format='jpeg',
                    max_height=400,
                    min_width=280,
                    buttons=['fullscreen'],
                    elem_id='zoom',
                )
                self.probability = gr.Image(
                    label='probability',
                    interactive=False,
                    height=400,
                    min_width=280,
                    buttons=['fullscreen'],
                    elem_id='probability',
                )

    # What happens -----------------------------------------------------------------------------

    def _connect(self) -> None:
        hidden = {'api_visibility': 'private', 'show_progress': 'hidden'}
        given = [self.photo, self.source, self.mask, self.several, self.resize, self.values]
        given += [self.editor, self.fill, self.proposal, self.thing]
        shown = [self.understood, self.note]
        look = {'fn': self.show_mask, 'inputs': given, 'outputs': shown, **hidden}
        canvas = {
            'fn': self.fill_canvas,
            'inputs': [self.photo, self.source, self.on_canvas],
            'outputs': [self.editor, self.on_canvas],
            **hidden,
        }
        forget = {
            'fn': lambda: (None, gr.Radio(visible=False)),
            'outputs': [self.proposal, self.thing],
            **hidden,
        }
        self.photo.change(**forget).then(**canvas).then(**look)
        self.source.change(
            lambda source: [gr.Group(visible=source == kind) for kind in (UPLOAD, PAINT, PROPOSE)],
            self.source,
            [self.uploading, self.painting, self.proposing],
            **hidden,
        ).then(**canvas).then(**look)
        for part in (self.mask, self.several, self.resize, self.values, self.thing):
            part.change(**look)
        if self.examples:
            self.dataset.click(
                lambda index: (*self.examples[index], UPLOAD, False),
                self.dataset,
                [self.photo, self.mask, self.source, self.several],
                **hidden,
            )
        self.find.click(
            self.find_things,
            self.photo,
            [self.proposal, self.thing, self.note, self.find],
            concurrency_limit=None,
            **hidden,
        )
        chosen = [self.model, self.overview, self.max_change, self.region, self.L, self.strategy]
        self.refine.click(
            self.run,
            [*given, *chosen],
            [
                *(self.status, self.refine, self.cancel, self.slider, self.zoom),
                *(self.details, self.probability, *self.downloads.values()),
            ],
            concurrency_limit=None,  # the queue limits it
            trigger_mode='once',
            **hidden,
        )
        self.cancel.click(self.give_up, queue=False, **hidden)
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
        *given, model, overview, max_change, region, L, strategy = values
        form, session = Form(*given), request.session_hash
        paths = form.photo, form.mask
        if session in self.running:  # a second click, however it came
            yield self.changes(busy=True)
            return
        settings = {'region': region, 'L': int(L)}
        if max_change < 100:
            settings['max_change'] = max_change / 100
        if overview >= 0:
            settings['overview'] = overview or None
        choices = work.Choices(settings, strategy)
        with tempfile.TemporaryDirectory(dir=self.folder.name) as folder:
            call = partial(
                self._work,
                form=form,
                refiner=self.refiners[model],
                choices=choices,
                folder=folder,
            )
            try:
                job = self.running[session] = self.queue.submit(call)
                while not job.wait(0):
                    yield self.changes(said('fine', progress(job), job.share), busy=True)
                    await asyncio.sleep(TICK)
                yield self.outcome(*job.result(), job.warnings, paths)
            except CancelledError:
                yield self.changes(said('note', 'Cancelled.'))
            except UserError as error:
                yield self.changes(said('wrong', sentence_of(error, *paths)))
            finally:
                if job := self.running.pop(session, None):
                    job.cancel()

    def outcome(self, told, pictures, files, warned, paths) -> dict:
        """What a page shows of a result."""
        shown, zoomed, soft = pictures
        notes = [said('note', sentence_of(text, *paths)) for text in warned]
        buttons = {
            button: gr.DownloadButton(
                value=str(files[kind]) if kind in files else None, visible=kind in files
            )
            for kind, button in self.downloads.items()
        }
        return {
            **self.changes(said('fine', f'Refined: {told}.') + ''.join(notes)),
            self.details: gr.Column(visible=True),
            self.slider: shown,
            self.zoom: zoomed,
            self.probability: gr.Image(soft, visible=soft is not None),
            **buttons,
        }

    def _work(self, job: Job, form, refiner, choices, folder):
        """In the queue's thread: from files to files."""
        result = work.refine(job, refiner, self.read(form), choices)
        return result.told, work.pictures(result), work.write(result, Path(folder))

    def changes(self, status: str | None = None, busy: bool = False) -> dict:
        """The status, and the buttons of a page that is busy or not."""
        return {
            self.status: gr.skip() if status is None else status,
            self.refine: gr.Button('Refining ...' if busy else 'Refine', interactive=not busy),
            self.cancel: gr.Button(visible=busy),
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
