"""RefinedSegmentor: what it refines, with which pixels, and what it leaves alone."""

import copy
import sys

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.dataset import Compose
from mmengine.runner import load_checkpoint
from mmengine.structures import PixelData
from mmseg.apis import inference_model, init_model
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from mmseg_cascadepsp.models import RefinedSegmentor, RefinedSegTTAModel
from mmseg_cascadepsp.models.chain import stuff_ids
from tests.chaining import (
    CLASSES,
    ROOT,
    RedIsObject,
    Scripted,
    chained,
    encoder_decoder,
    fcn_head,
    labels_of,
    red_disc,
    sample_of,
    write_picture,
    write_refiner,
)
from tests.rounding import assert_same_labels


def balance(segmentor, inputs):
    """Shift the biases of random weights until two classes share the picture."""
    with torch.no_grad():
        data = segmentor.data_preprocessor(dict(inputs=[inputs]))
        logits = segmentor.encode_decode(data['inputs'], [dict(img_shape=inputs.shape[1:])])[0]
        segmentor.decode_head.conv_seg.bias[0] += (logits[1] - logits[0]).mean()


class TestLabels:
    photo, truth, coarse = red_disc()
    inputs = torch.from_numpy(red_disc()[0].transpose(2, 0, 1).copy()).float()[None].flip(1)

    def test_logits_alone_will_do(self):
        model = chained(segmentor=Scripted(self.coarse * 1, logits=True))
        (sample,) = model.predict(self.inputs, [sample_of(self.truth.shape)])
        np.testing.assert_array_equal(labels_of(sample), self.truth)

    def test_without_samples(self):
        (sample,) = chained(self.coarse * 1).predict(self.inputs)
        np.testing.assert_array_equal(labels_of(sample), self.truth)

    @pytest.mark.parametrize(
        'certainty, size, moved',
        [
            # One-hot logits times 20 leave the refiner no say under such a weight. Those of
            # another size than the label map do not count.
            (0, (96, 128), True),
            (20, (96, 128), False),
            (20, (48, 64), True),
        ],
    )
    def test_logits_count_as_the_strategy_says(self, certainty, size, moved):
        model = chained(self.coarse * 1)
        model.strategy.update(prior_weight=50)
        scores = torch.nn.functional.one_hot(torch.from_numpy(self.coarse * 1), 3) * certainty
        scores = scores.permute(2, 0, 1).float()[:, : size[0], : size[1]]
        sample = sample_of(self.truth.shape)
        sample.set_data(dict(pred_sem_seg=PixelData(data=torch.from_numpy(self.coarse * 1)[None])))
        sample.set_data(dict(seg_logits=PixelData(data=scores)))
        for use_logits in (True, False):
            (sample,) = model.refine_samples([sample.clone()], self.inputs, use_logits)
            expected = self.truth if moved or not use_logits else self.coarse
            np.testing.assert_array_equal(labels_of(sample), expected)

    def test_of_the_size_of_the_input(self):
        """As samples of models that leave the resizing to others have them."""
        small = cv2.resize(self.coarse.astype(np.uint8), (64, 48), interpolation=cv2.INTER_AREA)
        sample = sample_of(self.truth.shape, img_shape=(48, 64))
        (sample,) = chained(small.astype(int)).predict(self.inputs, [sample])
        np.testing.assert_array_equal(labels_of(sample), self.truth)

    def test_of_a_strange_size(self):
        with pytest.raises(ValueError, match='label map of .* is 10x20, the photo 96x128'):
            chained(np.ones((10, 20), int)).predict(self.inputs, [sample_of(self.truth.shape)])

    def test_none_at_all(self):
        segmentor = Scripted(0)
        segmentor.predict = lambda inputs, samples: samples
        with pytest.raises(ValueError, match='neither pred_sem_seg nor seg_logits'):
            chained(0, segmentor=segmentor).predict(self.inputs, [sample_of(self.truth.shape)])

    def test_ids_out_of_range(self):
        with pytest.raises(ValueError, match='7'):
            chained(self.coarse * 7).predict(self.inputs, [sample_of(self.truth.shape)])

    def test_an_object_of_one_class(self):
        labels = np.where(self.coarse, 2, 1)
        sample = sample_of(self.truth.shape, object_class=2)
        (sample,) = chained(labels, 'auto').predict(self.inputs, [sample])
        np.testing.assert_array_equal(labels_of(sample), self.truth)
        np.testing.assert_array_equal(labels_of(sample, 'pred_sem_seg_coarse'), self.coarse)
        np.testing.assert_array_equal(labels_of(sample, 'coarse_mask'), self.coarse * 255)

    def test_enlarged_bicubically_as_in_the_paper(self, tmp_path):
        write_picture(tmp_path / 'photo.png', self.photo)
        cfg = encoder_decoder(2)
        torch.manual_seed(1)
        model = chained(segmentor=cfg, enlarge='labels', classes=('background', 'cat'))
        pipeline = Compose(
            [
                dict(type='LoadImageFromFile'),
                dict(type='Resize', scale=(32, 24)),
                dict(type='PackSegInputs'),
            ]
        )
        data = pipeline(dict(img_path=str(tmp_path / 'photo.png')))
        balance(model.segmentor, data['inputs'])
        (sample,) = model.test_step({key: [value] for key, value in data.items()})
        assert sample.ori_shape == (96, 128)
        inputs = model.data_preprocessor(dict(inputs=[data['inputs']]))['inputs']
        small = model.segmentor.predict(inputs)[0].pred_sem_seg.data[0].numpy()
        assert small.shape == (24, 32) and 0 < small.mean() < 1
        wanted = cv2.resize(small.astype(np.float32), (128, 96), interpolation=cv2.INTER_CUBIC)
        coarse = labels_of(sample, 'pred_sem_seg_coarse')
        assert (coarse == (wanted > 0.5)).mean() > 0.999  # ties apart


OCR = dict(
    type='CascadeEncoderDecoder',
    num_stages=2,
    decode_head=[
        fcn_head(),
        dict(
            type='OCRHead',
            in_channels=4,
            in_index=0,
            channels=4,
            ocr_channels=2,
            num_classes=3,
            norm_cfg=dict(type='BN'),
        ),
    ],
)


@pytest.mark.parametrize(
    ('changes', 'classes'),
    [
        ({}, CLASSES),
        (dict(test_cfg=dict(mode='slide', crop_size=(32, 32), stride=(24, 24))), CLASSES),
        (OCR, CLASSES),
        (dict(decode_head=fcn_head(2, out_channels=1, threshold=0.5)), ('background', 'cat')),
        (dict(decode_head=fcn_head(1, out_channels=1, threshold=0.5)), ('cat',)),
    ],
    ids=['whole', 'slide', 'cascade', 'sigmoid', 'sigmoid of one class'],
)
def test_the_segmentor_predicts_as_on_its_own(changes, classes):
    photo = red_disc()[0]
    torch.manual_seed(0)
    cfg = encoder_decoder(**changes)
    model = chained(None, 'auto', classes, cfg)
    inputs = torch.from_numpy(photo[..., ::-1].transpose(2, 0, 1).copy())

    def data():
        return dict(inputs=[inputs], data_samples=[sample_of((96, 128))])

    (sample,), (alone,) = model.test_step(data()), model.segmentor.test_step(data())
    of_alone = labels_of(alone).astype(np.int64)  # float of a sigmoid
    assert_same_labels(labels_of(sample, 'pred_sem_seg_coarse'), of_alone)
    torch.testing.assert_close(sample.seg_logits.data, alone.seg_logits.data)
    assert set(np.unique(labels_of(sample))) <= set(range(max(2, len(classes))))
    assert model.out_channels == model.segmentor.out_channels


def test_augmentations_are_averaged_and_refined_once():
    torch.manual_seed(0)
    cfg = encoder_decoder(2)
    model = chained(None, 'binary', ('background', 'cat'), cfg)
    photo = torch.from_numpy(red_disc()[0][..., ::-1].transpose(2, 0, 1).copy())
    balance(model.segmentor, photo)

    def data():
        versions = [(photo, {}), (photo.flip(2), dict(flip=True, flip_direction='horizontal'))]
        return dict(
            inputs=[[pixels] for pixels, _ in versions],
            data_samples=[
                [sample_of((96, 128), img_path=None, ori_img=red_disc()[0], **meta)]
                for _, meta in versions
            ],
        )

    plain = MODELS.build(dict(type='SegTTAModel', module=model.segmentor))
    (alone,) = plain.test_step(data())
    (sample,) = RefinedSegTTAModel(model).test_step(data())
    of_alone = labels_of(alone).astype(np.int64)  # float of a sigmoid
    assert_same_labels(labels_of(sample, 'pred_sem_seg_coarse'), of_alone)
    passes = model.refiner.passes
    assert passes > 0
    model.refiner.passes = 0
    model.refine_samples(plain.test_step(data()))
    assert passes == model.refiner.passes
    with pytest.raises(TypeError, match='SegTTAModel'):
        RefinedSegTTAModel(encoder_decoder())


def encoder_decoder_state(num_classes):
    return MODELS.build(encoder_decoder(num_classes)).state_dict()


class TestWeights:
    def test_of_the_plain_segmentor_load_as_they_are(self, tmp_path):
        plain = MODELS.build(encoder_decoder())
        torch.save(
            {'state_dict': plain.state_dict(), 'meta': dict(dataset_meta=dict(classes=CLASSES))},
            tmp_path / 'plain.pth',
        )
        by_argument = chained(
            classes=None, segmentor=encoder_decoder(), checkpoint=str(tmp_path / 'plain.pth')
        )
        assert by_argument._class_names() == CLASSES
        by_mmengine, by_torch = (chained(segmentor=encoder_decoder()) for _ in range(2))
        load_checkpoint(by_mmengine, str(tmp_path / 'plain.pth'), strict=True)
        by_torch.load_state_dict(plain.state_dict())
        for model in (by_argument, by_mmengine, by_torch):
            for key, value in plain.state_dict().items():
                torch.testing.assert_close(model.segmentor.state_dict()[key], value)
            assert float(model.refiner.gain.detach()) == 40

    def test_of_a_chained_model_load_and_others_are_refused(self, tmp_path):
        plain = encoder_decoder()
        model = chained(segmentor=plain)
        for name, state in (
            ('chained', model.state_dict()),
            ('ddp', {f'module.{key}': value for key, value in model.state_dict().items()}),
            ('wrong', encoder_decoder_state(4)),
            ('none', {'foo.weight': torch.zeros(1)}),
        ):
            torch.save({'state_dict': state}, tmp_path / f'{name}.pth')
        for name in ('chained', 'ddp'):
            loaded = chained(segmentor=plain, checkpoint=str(tmp_path / f'{name}.pth'))
            for key, value in model.segmentor.state_dict().items():
                torch.testing.assert_close(loaded.segmentor.state_dict()[key], value)
        for name in ('wrong', 'none'):
            with pytest.raises(ValueError, match=f'{name}.pth does not fit the segmentor: .* of'):
                chained(segmentor=plain, checkpoint=str(tmp_path / f'{name}.pth'))

    def test_of_its_own_load_too(self):
        model = chained(segmentor=encoder_decoder())
        with torch.no_grad():
            model.refiner.gain.fill_(7)
        other = chained(segmentor=encoder_decoder())
        other.load_state_dict(copy.deepcopy(model.state_dict()))
        assert float(other.refiner.gain.detach()) == 7

    def test_of_a_refiner_of_another_width(self, tmp_path):
        _, weights = write_refiner(tmp_path)
        with pytest.raises(ValueError, match=r'tiny_refiner.pth does not fit .*lite.* shape'):
            RefinedSegmentor(Scripted(0), refiner='lite', refiner_checkpoint=str(weights))

    def test_missing_they_are_not_used(self, tmp_path):
        config, weights = write_refiner(tmp_path)
        model = RefinedSegmentor(Scripted(np.zeros((8, 8), int)), refiner=str(config)).eval()
        with pytest.raises(RuntimeError, match='random weights: give refiner_checkpoint'):
            model.predict(torch.zeros(1, 3, 8, 8))
        model.load_state_dict(
            {f'refiner.{key}': value for key, value in torch.load(weights).items()}
        )
        assert model.predict(torch.zeros(1, 3, 8, 8))


def test_training_is_refused_with_directions():
    model = chained(segmentor=encoder_decoder())
    with pytest.raises(RuntimeError, match=r'tools/train.py configs/cascadepsp_lite.py'):
        model(torch.zeros(1, 3, 8, 8), [SegDataSample()], mode='loss')
    assert not model.train().refiner.training


def test_arguments_are_checked():
    for options, sentence in (
        (dict(enlarge='nearest'), "enlarge must be 'logits' or 'labels', got 'nearest'"),
        (dict(precision='int8'), "precision must be one of 'fp32'"),
    ):
        with pytest.raises(ValueError, match=sentence):
            chained(0, **options)
    with pytest.raises(TypeError, match='no argument refine'):
        chained(0, refine=True)


def test_the_automatic_strategy_is_printed(monkeypatch):
    said = []
    module = sys.modules[RefinedSegmentor.__module__]
    monkeypatch.setattr(module, 'print_log', lambda sentence, **_: said.append(sentence))
    photo, truth, coarse = red_disc()
    inputs = torch.from_numpy(photo.transpose(2, 0, 1).copy()).float()[None].flip(1)
    chained(coarse * 1, 'auto').predict(inputs)
    assert len(said) == 1 and 'strategy (auto): SemanticStrategy: the other 2' in said[0]


def test_mmseg_s_own_inference(tmp_path):
    """A config of three lines, init_model and inference_model, with an array and with a file."""
    config, weights = write_refiner(tmp_path)
    plain = MODELS.build(encoder_decoder())
    torch.save({'state_dict': plain.state_dict(), 'meta': {}}, tmp_path / 'plain.pth')
    (tmp_path / 'plain.py').write_text(
        f'model = {encoder_decoder().to_dict()}\n'
        "test_pipeline = [dict(type='LoadImageFromFile'), dict(type='PackSegInputs')]\n"
    )
    (tmp_path / 'chained.py').write_text(
        "_base_ = './plain.py'\n"
        "custom_imports = dict(imports=['mmseg_cascadepsp'])\n"
        "model = dict(_delete_=True, type='RefinedSegmentor', segmentor={{_base_.model}},\n"
        f"             refiner='{config}', refiner_checkpoint='{weights}',\n"
        "             strategy=dict(type='scene', min_size=64))\n"
    )
    model = init_model(str(tmp_path / 'chained.py'), str(tmp_path / 'plain.pth'), device='cpu')
    for key, value in plain.state_dict().items():
        torch.testing.assert_close(model.segmentor.state_dict()[key], value)
    photo = red_disc()[0]
    write_picture(tmp_path / 'photo.png', photo)
    from_file = inference_model(model, str(tmp_path / 'photo.png'))
    from_array = inference_model(model, photo[..., ::-1])
    np.testing.assert_array_equal(labels_of(from_file), labels_of(from_array))


def test_a_config_file_of_mmseg_as_segmentor():
    model = RefinedSegmentor('mmseg::_base_/models/segformer_mit-b0.py', refiner=RedIsObject())
    assert type(model.segmentor.backbone).__name__ == 'MixVisionTransformer'
    assert model.data_preprocessor is model.segmentor.data_preprocessor
    assert (ROOT / 'configs').is_dir()


def test_names_that_init_model_makes_up_are_not_used(tmp_path):
    """Of a checkpoint without names it takes Cityscapes' 19, whose first three are stuff."""
    cfg = dict(type='RefinedSegmentor', segmentor=encoder_decoder(), refiner='lite')
    (tmp_path / 'chained.py').write_text(
        "custom_imports = dict(imports=['mmseg_cascadepsp'])\n"
        f'model = {ConfigDict(cfg).to_dict()}\n'
    )
    torch.save({'state_dict': encoder_decoder_state(3), 'meta': {}}, tmp_path / 'plain.pth')
    model = init_model(str(tmp_path / 'chained.py'), str(tmp_path / 'plain.pth'), device='cpu')
    assert len(model.dataset_meta['classes']) == 19
    assert model._class_names() is None
    chosen = model._choose_strategy(single=False)
    assert not stuff_ids(chosen.stuff, model._class_names())
    model.dataset_meta = dict(classes=CLASSES)
    assert model._class_names() == CLASSES


def test_names_of_another_number_than_the_segmentor_s(tmp_path):
    with pytest.raises(ValueError, match='classes must be the 3 of the segmentor, got .* of 2'):
        chained(0, classes=('background', 'cat'))
    with pytest.raises(TypeError, match="classes must be a list .* got 'cat'"):
        chained(0, classes='cat')
    torch.save(
        {'state_dict': encoder_decoder_state(3), 'meta': {'CLASSES': ('a', 'b')}},
        tmp_path / 'plain.pth',
    )
    model = chained(None, 'auto', None, encoder_decoder(), checkpoint=str(tmp_path / 'plain.pth'))
    assert model.classes is None


def test_norms_are_not_synchronised_without_a_gpu(monkeypatch):
    cfg = encoder_decoder()
    cfg.backbone.norm_cfg = dict(type='SyncBN')
    kinds = {}
    for has_gpu in (False, True):
        monkeypatch.setattr(torch.cuda, 'is_available', lambda has_gpu=has_gpu: has_gpu)
        modules = chained(segmentor=cfg).segmentor.backbone.modules()
        kinds[has_gpu] = any(isinstance(each, torch.nn.SyncBatchNorm) for each in modules)
    assert kinds == {False: False, True: True}
    plain = MODELS.build(cfg).state_dict()
    assert chained(segmentor=cfg).segmentor.state_dict().keys() == plain.keys()


@pytest.mark.parametrize('given', [None, 7])
def test_void_is_that_of_the_dataset_unless_it_is_given(given):
    photo, truth, coarse = red_disc()
    void = given or 9
    labels = np.where(coarse, void, 0)
    model = chained(labels, ignore_index=given)
    model.dataset_meta = dict(classes=CLASSES, ignore_index=9)
    inputs = torch.from_numpy(photo.transpose(2, 0, 1).copy()).float()[None].flip(1)
    (sample,) = model.predict(inputs, [sample_of(truth.shape)])
    np.testing.assert_array_equal(labels_of(sample), labels)


@pytest.mark.parametrize(
    ('strategy', 'error', 'words'),
    [
        ('foo', ValueError, "strategy must be 'auto', 'scene'"),
        (
            {'type': 'scene', 'pading': 0.5},
            TypeError,
            'SceneParsingStrategy has no setting pading; it has stuff, .* L',
        ),
    ],
)
def test_strategies_are_checked_before_weights_and_data_are_loaded(strategy, error, words):
    with pytest.raises(error, match=words):
        RefinedSegmentor(Scripted(0), refiner=RedIsObject(), strategy=strategy)


def test_with_so_many_classes_255_is_one():
    photo, truth, coarse = red_disc()
    inputs = torch.from_numpy(photo.transpose(2, 0, 1).copy()).float()[None].flip(1)
    labels = np.where(coarse, 255, 0)
    for number, expected in ((300, np.where(truth, 255, 0)), (150, labels)):
        classes = ['background', *(f'class {i}' for i in range(1, number))]
        segmentor = Scripted(labels)
        segmentor.num_classes = number
        model = chained(segmentor=segmentor, classes=classes)
        (sample,) = model.predict(inputs, [sample_of(truth.shape)])
        np.testing.assert_array_equal(labels_of(sample), expected)
