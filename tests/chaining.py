"""What tests of chained models share: a refiner that reads colours, small models and sets."""

import copy
import functools
from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.config import ConfigDict
from mmengine.structures import PixelData
from mmseg.models import BaseSegmentor, SegDataPreProcessor
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import nn

from mmseg_cascadepsp.cascade import Network
from mmseg_cascadepsp.models import RefinedSegmentor
from mmseg_cascadepsp.models.refiner import zoo as model_zoo

ROOT = Path(__file__).resolve().parents[1]
CLASSES = ('background', 'cat', 'dog')
#: MMSegmentation's own for ADE20K, of a small model and small photos; a text to be formatted.
ADE20K_CONFIG = """
_base_ = ['mmseg::_base_/datasets/ade20k.py', 'mmseg::_base_/default_runtime.py',
          'mmseg::_base_/schedules/schedule_20k.py']
model = {model}
test_pipeline = [
    dict(type='LoadImageFromFile'), dict(type='Resize', scale=(64, 64), keep_ratio=True),
    dict(type='LoadAnnotations', reduce_zero_label=True), dict(type='PackSegInputs')]
test_dataloader = dict(
    num_workers=0, persistent_workers=False,
    dataset=dict(data_root='{root}/ade', pipeline=test_pipeline))
"""


class RedIsObject(nn.Module, Network):
    """A refiner that takes what is red, near the mask it is given, for the object."""

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(40.0))
        self.passes = 0

    def normalize(self, image):
        return image.float() / 255

    def for_image(self, image):
        return functools.partial(self.refine_pass, image)

    def refine_pass(self, image, masks, strides):
        self.passes += 1
        near = nn.functional.max_pool2d(masks[:, :1], 31, 1, 15)
        logits = torch.minimum(self.gain * (image[:, :1] - image[:, 2:] - 0.5), self.gain * near)
        return dict.fromkeys(strides, logits)


class Scripted(BaseSegmentor):
    """Predicts one label map, whatever it sees; logits only where asked."""

    num_classes = 3

    def __init__(self, labels, logits=False, **preprocessing):
        super().__init__(SegDataPreProcessor(**preprocessing))
        self.labels, self.logits = torch.as_tensor(labels), logits

    def predict(self, inputs, data_samples=None):
        samples = data_samples or [SegDataSample() for _ in inputs]
        for sample in samples:
            if self.logits:
                scores = torch.nn.functional.one_hot(self.labels, 3).permute(2, 0, 1)
                sample.set_data({'seg_logits': PixelData(data=scores.float())})
            else:
                sample.set_data({'pred_sem_seg': PixelData(data=self.labels[None])})
        return samples

    def extract_feat(self, inputs):
        raise AssertionError('the wrapper calls predict alone')

    encode_decode = loss = _forward = extract_feat


def chained(labels=None, strategy='semantic', classes=CLASSES, segmentor=None, **options):
    return RefinedSegmentor(
        Scripted(labels) if segmentor is None else segmentor,
        refiner=RedIsObject(),
        strategy=dict(type=strategy, L=128),
        classes=classes,
        **options,
    ).eval()


def sample_of(size, **meta):
    sample = SegDataSample()
    sample.set_metainfo({'ori_shape': size, 'img_shape': size, **meta})
    return sample


def labels_of(sample, key='pred_sem_seg'):
    labels = getattr(sample, key).data
    assert labels.ndim == 3 and labels.shape[0] == 1
    return labels[0].numpy()


def red_disc(size=(96, 128), centre=(50, 60), radius=24):
    """A red disc on blue, RGB uint8, its mask, and a coarse mask that is off by six pixels."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    truth = (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < radius**2
    photo = np.where(truth[..., None], np.uint8([230, 40, 20]), np.uint8([20, 60, 220]))
    return photo, truth, np.roll(truth, 6, axis=1)


def encoder_decoder(num_classes=3, **changes):
    """Config of a segmentor of one small stage."""
    norm = dict(type='BN')
    cfg = ConfigDict(
        type='EncoderDecoder',
        data_preprocessor=dict(
            type='SegDataPreProcessor',
            mean=[123.675, 116.28, 103.53],
            std=[58.395, 57.12, 57.375],
            bgr_to_rgb=True,
        ),
        backbone=dict(
            type='ResNet',
            depth=18,
            stem_channels=4,
            base_channels=4,
            num_stages=1,
            strides=(1,),
            dilations=(1,),
            out_indices=(0,),
            norm_cfg=norm,
        ),
        decode_head=fcn_head(num_classes),
        test_cfg=dict(mode='whole'),
    )
    cfg.update(changes)
    return cfg


def fcn_head(num_classes=3, **changes):
    return dict(
        type='FCNHead',
        in_channels=4,
        in_index=0,
        channels=4,
        num_convs=1,
        concat_input=False,
        num_classes=num_classes,
        norm_cfg=dict(type='BN'),
        **changes,
    )


def write_refiner(folder):
    """The config of a very small CascadePSP, and random weights for it."""
    config = folder / 'tiny_refiner.py'
    config.write_text(
        f"_base_ = '{ROOT}/configs/_base_/models/cascadepsp_lite.py'\n"
        'model = dict(\n'
        "    backbone=dict(_delete_=True, type='RefinementResNet', depth=18, stem_channels=8,\n"
        '                  stage_channels=(8, 8, 16, 16), strides=(1, 2, 1, 1),\n'
        '                  dilations=(1, 1, 2, 4), contract_dilation=True),\n'
        '    decode_head=dict(in_channels=(8, 8, 16), pool_channels=16, up_channels=(16, 8, 8),\n'
        '                     out_channels=8))\n'
    )
    torch.manual_seed(0)
    weights = folder / 'tiny_refiner.pth'
    torch.save(model_zoo.build_model(str(config))[0].state_dict(), weights)
    return config, weights


def write_checkpoint(segmentor, path, **meta):
    """Random weights of a segmentor's config."""
    torch.manual_seed(0)
    model = MODELS.build(copy.deepcopy(segmentor))
    torch.save({'state_dict': model.state_dict(), 'meta': meta}, path)
    return path


def write_picture(path, pixels):
    """``pixels``: RGB (H, W, 3) or (H, W); lossless or not as the suffix says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), pixels[..., ::-1] if pixels.ndim == 3 else pixels)


def write_ade20k(root, count=2, size=(48, 64)):
    """A set in ADE20K's layout: 0 is void, classes from 1."""
    for index in range(count):
        photo, truth, _ = red_disc(size, (24, 30), 12 + index)
        name = f'ADE_val_{index:08d}'
        write_picture(root / 'images/validation' / f'{name}.jpg', photo)
        labels = np.where(truth, 13, 1).astype(np.uint8)
        labels[:4] = 0
        write_picture(root / 'annotations/validation' / f'{name}.png', labels)
    return root


def write_cityscapes(root, size=(48, 96)):
    """A set in Cityscapes's layout."""
    photo, truth, _ = red_disc(size, (24, 30), 12)
    stem = 'frankfurt/frankfurt_000000_000294'
    write_picture(root / 'leftImg8bit/val' / f'{stem}_leftImg8bit.png', photo)
    write_picture(
        root / 'gtFine/val' / f'{stem}_gtFine_labelTrainIds.png',
        np.where(truth, 13, 255).astype(np.uint8),
    )
    return root


def write_objects(root, stems, size=(48, 64), suffix='_im.jpg'):
    """A set in the layout of BIG and the relabelled VOC."""
    for stem in stems:
        photo, truth, _ = red_disc(size, (24, 30), 12)
        write_picture(root / f'{stem}{suffix}', photo)
        write_picture(root / f'{stem}_gt.png', truth.astype(np.uint8) * 255)
    return root


#: One process, small pictures, a narrow ResNet-18 in the place of what a config names.
SMALL_RUN = {
    'test_dataloader.num_workers': 0,
    'test_dataloader.persistent_workers': False,
    'test_dataloader.dataset.pipeline.1.scale': (64, 64),
}


def narrow(prefix):
    """Options that shrink MMSeg's DeepLabV3+, PSPNet, EncNet and FCN on ResNets."""
    return {
        f'{prefix}.{key}': value
        for key, value in {
            'backbone.depth': 18,
            'backbone.stem_channels': 4,
            'backbone.base_channels': 4,
            'decode_head.in_channels': 32,
            'decode_head.channels': 8,
            'auxiliary_head': None,
        }.items()
    }


def narrow_options(model, prefix):
    """:func:`narrow`, with what the heads of single models want besides."""
    own = {
        'deeplabv3plus': {'decode_head.c1_in_channels': 4, 'decode_head.c1_channels': 4},
        'encnet': {'decode_head.in_channels': [8, 16, 32], 'decode_head.num_codes': 4},
    }.get(model, {})
    return narrow(prefix) | {f'{prefix}.{key}': value for key, value in own.items()}
