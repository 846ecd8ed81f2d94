"""What is on the page, without what it does."""

import html
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from mmseg_cascadepsp.apis import Refiner
from mmseg_cascadepsp.cascade.changes import TOO_MUCH, RefinementReport
from mmseg_cascadepsp.cascade.edges import ACCURATE

from . import extra, work
from .forms import MAX_L, MIN_L

with extra():
    import gradio as gr

UPLOAD, PAINT, PROPOSE = 'upload a file', 'paint it', 'let it be proposed'
#: Labels that sentences name.
SEVERAL = 'several classes (a label map)'
RESIZE = 'stretch it to the photo if it has another size'
MASK_VALUES = 'What is object in the mask'
MAX_CHANGE = 'How far it may change, in per cent of it'
KEEP_ACCURATE = 'leave a mask as it is that is right already'
#: What sentences for Python and the command advise, and what it is on the page.
ADVICE = (
    (r'say resize_mask=True \(--resize-mask\)', f'tick "{RESIZE}"'),
    (r', and ignore=\d+ \(--ignore \d+\) if \d+ is void', ''),
    (
        r"mask_values='?([\w.]+)'? \(--mask-values [^)]*\)",
        rf'\1 under "{MASK_VALUES}" in Settings',
    ),
    (
        r"say exif='ignore' \(--exif ignore\)(, and 'apply' if not)?",
        'turn one of them, so that both are upright',
    ),
    (r'(as a label map[^;]*; |a label map \(an id[^;]*\): )', rf'\1choose "{SEVERAL}", or '),
)
#: Files that nobody fetched are deleted after so many seconds; they are looked for as often.
KEPT = 3600
#: On a narrow screen the result lies below the settings. It has its height with its pictures.
SHOW_RESULT = """() => {
    if (!document.querySelector('#status .fine')) return;
    const slider = document.querySelector('#slider');
    let looks = 50;
    const show = () => {
        const loaded = [...slider.querySelectorAll('img')].filter(img => img.naturalWidth);
        if (loaded.length > 1 || !looks--)
            slider.scrollIntoView({behavior: 'smooth', block: 'nearest'});
        else setTimeout(show, 100);
    };
    show();
}"""
STYLE = """
.gradio-container{max-width:1500px!important;width:100%;margin:auto}
#head h1{margin:0 0 .1em;font-size:1.7rem}#head p{margin:0;opacity:.8}
.said{padding:.55em .8em;border-radius:8px;border-left:4px solid;line-height:1.4}
.said.wrong{border-color:#d33;background:#d3332218}
.said.note{border-color:#d80;background:#d8800018}
.said.fine{border-color:#0aa3cc;background:#0aa3cc18}
.said progress{width:100%;height:.6em;accent-color:#0aa3cc}.said+.said{margin-top:.6em}
#mask{border:0;outline:0}#mask *{outline-offset:-2px}
:is(input,button,a):focus-visible{outline:2px solid #0aa3cc!important}
#refine,#cancel{min-height:3rem;font-size:1.05rem}
"""


def said(kind: str, text: str, share: float | None = None) -> str:
    """A box with a sentence: ``'wrong'``, ``'note'`` or ``'fine'``.

    Example:
        >>> said('wrong', 'a < b')
        '<div class="said wrong" role="alert">a &lt; b</div>'
    """
    bar = '' if share is None else f'<progress value="{share:.3f}"></progress>'
    role = 'alert' if kind == 'wrong' else 'status'
    return f'<div class="said {kind}" role="{role}">{html.escape(text)}{bar}</div>'


def on_page(sentence: str) -> str:
    """A sentence whose advice names what is on the page.

    Example:
        >>> on_page('resize it, or say resize_mask=True (--resize-mask).')
        'resize it, or tick "stretch it to the photo if it has another size".'
    """
    for elsewhere, here in ADVICE:
        sentence = re.sub(elsewhere, here, sentence)
    return sentence


def why_kept(report: RefinementReport) -> str:
    """Why a mask stays as it was, and what to do about it.

    Args:
        report: Of a mask that does.

    Example:
        >>> from mmseg_cascadepsp.cascade.changes import Change, lost_object
        >>> print(why_kept(RefinementReport(Change(0.5, 9.0, (1, 1), 1.0), lost_object(40, 20))))
        the refiner would leave 20 of 40 pixels of an object. See below whether it is the mask of \
an object in this photo.
    """
    if report.kept.startswith(ACCURATE):
        return (
            f'{ACCURATE}. If a small part of it is wrong, such as a lost finger, switch off '
            f'"{KEEP_ACCURATE}" in Settings and refine again.'
        )
    if report.kept.startswith(TOO_MUCH):
        return (
            f'{1 - report.change.iou:.0%} of it would change, more than allowed. For the change '
            f'all the same, raise "{MAX_CHANGE}" in Settings and refine again.'
        )
    return f'{report.kept}. See below whether it is the mask of an object in this photo.'


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


class Parts:
    """The parts of the page, laid out where they are made: within ``gr.Blocks``.

    Args:
        refiners: Name -> refiner, of which a user chooses one.
        examples: Photos to choose from, files.
    """

    def __init__(self, refiners: Mapping[str, Refiner], examples: Sequence[str]) -> None:
        gr.Markdown(
            '# Masks whose boundaries follow the photo\nYour photo and a coarse mask of an object '
            'in it go in, a sharp mask comes out. Nothing leaves this machine.',
            elem_id='head',
        )
        self.proposal, self.on_canvas = gr.State(time_to_live=KEPT), gr.State()
        with gr.Row():
            with gr.Column(scale=4, min_width=330):
                self._lay_out_inputs(examples)
                self._lay_out_settings(refiners)
            with gr.Column(scale=6, min_width=330):
                self._lay_out_results()

    @property
    def given(self) -> list:
        """What holds the fields of a :class:`Form`, in their order."""
        return [
            *(self.photo, self.source, self.mask, self.several, self.resize, self.values),
            *(self.editor, self.fill, self.proposal, self.thing),
        ]

    @property
    def chosen(self) -> list:
        """The settings."""
        return [
            *(self.model, self.overview, self.max_change, self.keep_accurate),
            *(self.region, self.L, self.strategy),
        ]

    def _lay_out_inputs(self, examples: Sequence[str]) -> None:
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
        if examples:
            self.dataset = gr.Dataset(
                components=[self.photo],
                samples=[[photo] for photo in examples],
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
                [('one object', False), (SEVERAL, True)],
                value=False,
                label='What it shows',
                elem_id='several',
            )
            self.resize = gr.Checkbox(label=RESIZE, elem_id='resize')
        with gr.Group(visible=False) as self.painting:
            gr.Markdown('Paint over the object, or draw a closed line around it.', padding=True)
            self.editor = gr.ImageEditor(
                label='painted',
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
        self.note = gr.HTML(elem_id='note')
        with gr.Row():
            self.refine = gr.Button('Refine', variant='primary', elem_id='refine')
            self.cancel = gr.Button('Cancel', variant='stop', visible=False, elem_id='cancel')
        self.status = gr.HTML(
            said('fine', 'Choose a photo and its mask, then press Refine.'), elem_id='status'
        )
        self.understood = gr.Image(
            label='how the mask is understood',
            interactive=False,
            visible=False,
            height=240,
            buttons=[],
            elem_id='understood',
        )

    def _lay_out_settings(self, refiners: Mapping[str, Refiner]) -> None:
        names = list(refiners)
        first = refiners[names[0]].cascade
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
                value=100 if first.max_change is None else max(1, round(100 * first.max_change)),
                step=1,
                label=MAX_CHANGE,
                info='a mask that would change more stays as it was',
                elem_id='max_change',
            )
            self.keep_accurate = gr.Checkbox(
                value=first.keep_accurate,
                label=KEEP_ACCURATE,
                info="An outline that lies on the photo's edges already would lose a little if it "
                'were drawn anew. It stays as it was, but for gross errors such as a lost arm. '
                'Switch this off to mend a smaller one, such as a lost finger. Classes of a label '
                'map are always refined.',
                elem_id='keep_accurate',
            )
            self.region = gr.Radio(
                [
                    ('closely where they are small', 'auto'),
                    ('always closely', 'object'),
                    ('never: the whole photo', 'photo'),
                ],
                value=first.region,
                label='Small objects are looked at',
                elem_id='region',
            )
            self.L = gr.Slider(
                MIN_L,
                MAX_L,
                value=first.L,
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
                label=MASK_VALUES,
                info="where its values don't say it: numbers such as 3, 5, or soft",
                elem_id='values',
            )

    def _lay_out_results(self) -> None:
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
