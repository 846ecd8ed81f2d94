"""The photo's own pixels: from the file, from a transform, or out of the segmentor's input."""

import cv2
import numpy as np
import pytest
import torch
from mmcv.transforms import BaseTransform
from mmengine.dataset import Compose
from mmseg.registry import TRANSFORMS
from PIL import Image

from mmseg_cascadepsp.models import RefinedSegTTAModel
from mmseg_cascadepsp.models.chain import original_pixels as module
from mmseg_cascadepsp.models.chain.original_pixels import original_pixels
from tests.chaining import (
    Scripted,
    chained,
    encoder_decoder,
    labels_of,
    red_disc,
    sample_of,
    write_picture,
)


class TestPixels:
    """The photo's own pixels, wherever they are."""

    photo, truth, coarse = red_disc()

    def run(self, pipeline, source, **meta):
        data = Compose([*pipeline, dict(type='PackRefinedInputs')])(source)
        data['data_samples'].set_metainfo(meta)
        model = chained(self.coarse * 2, segmentor=Scripted(self.coarse * 2, bgr_to_rgb=True))
        with torch.no_grad():
            data = {key: [value] for key, value in data.items()}
            (sample,) = model.test_step(data)
        np.testing.assert_array_equal(labels_of(sample, 'pred_sem_seg_coarse'), self.coarse * 2)
        return labels_of(sample)

    def test_read_again_from_the_file(self, tmp_path):
        write_picture(tmp_path / 'photo.png', self.photo)
        refined = self.run(
            [dict(type='LoadImageFromFile'), dict(type='Resize', scale=(40, 30))],
            dict(img_path=str(tmp_path / 'photo.png')),
        )
        np.testing.assert_array_equal(refined, self.truth * 2)

    def test_kept_by_the_transform(self):
        refined = self.run(
            [
                dict(type='LoadImageFromNDArray'),
                dict(type='KeepOriginalImage'),
                dict(type='Resize', scale=(40, 30)),
            ],
            dict(img=self.photo[..., ::-1]),
        )
        np.testing.assert_array_equal(refined, self.truth * 2)

    @pytest.mark.parametrize(
        'transform',
        [dict(type='RandomFlip', prob=1.0, direction=way) for way in ('horizontal', 'vertical')],
    )
    def test_from_the_input(self, transform):
        refined = self.run(
            [dict(type='LoadImageFromNDArray'), transform], dict(img=self.photo[..., ::-1])
        )
        np.testing.assert_array_equal(refined, self.truth * 2)

    def test_from_a_resized_input_it_is_rougher(self):
        refined = self.run(
            [dict(type='LoadImageFromNDArray'), dict(type='Resize', scale=(64, 48))],
            dict(img=self.photo[..., ::-1]),
        )
        wrong = (refined != self.truth * 2).mean()
        assert 0 < wrong < 0.02 < (self.coarse != self.truth).mean()

    @pytest.mark.parametrize('bgr_to_rgb', [True, False])
    @pytest.mark.parametrize('normalised', [True, False])
    def test_normalisation_padding_and_channels_are_undone(self, bgr_to_rgb, normalised):
        values = dict(mean=[10.0, 20, 30], std=[50.0, 60, 70]) if normalised else {}
        segmentor = Scripted(
            self.coarse * 1, bgr_to_rgb=bgr_to_rgb, test_cfg=dict(size_divisor=100), **values
        )
        model = chained(segmentor=segmentor)
        inputs = torch.from_numpy(self.photo[..., ::-1].transpose(2, 0, 1).copy())
        data = dict(inputs=[inputs], data_samples=[sample_of(self.truth.shape)])
        (sample,) = model.test_step(data)
        np.testing.assert_array_equal(labels_of(sample), self.truth)

    @pytest.mark.parametrize('content', [b'', b'\x93NUMPY'])
    def test_a_file_that_opencv_cannot_decode_is_passed_over(self, tmp_path, content):
        (tmp_path / 'photo.npy').write_bytes(content)
        sample = sample_of(self.truth.shape, img_path=str(tmp_path / 'photo.npy'))
        inputs = torch.from_numpy(self.photo.transpose(2, 0, 1).copy())
        found = original_pixels(sample, self.truth.shape, inputs)
        np.testing.assert_array_equal(found, inputs)

    def test_none_will_do(self, tmp_path):
        write_picture(tmp_path / 'other.png', self.photo[:50])
        model = chained(self.coarse * 1)
        sample = sample_of(self.truth.shape, img_path=str(tmp_path / 'other.png'))
        with pytest.raises(
            ValueError, match=r'and found none.*other.png is of shape.*KeepOriginal'
        ):
            model.predict(torch.zeros(1, 6, 96, 128), [sample])


@TRANSFORMS.register_module(force=True)
class TurnAround(BaseTransform):
    """A pipeline's own loading: upside down, which no file says."""

    def transform(self, results):
        results['img'] = np.ascontiguousarray(results['img'][::-1])
        return results


class TestWhatThePipelineSaw:
    """The refiner is given the pixels that the segmentor saw, however they were loaded."""

    rng = np.random.default_rng(0)
    photo = cv2.GaussianBlur(rng.integers(0, 256, (60, 80, 3), np.uint8), (0, 0), 6)
    photo = cv2.normalize(photo, None, 0, 255, cv2.NORM_MINMAX)
    normalised = dict(mean=[120.0, 110, 100], std=[60.0, 61, 62], bgr_to_rgb=True)

    def find(self, path, load, *more, values=normalised, size=None):
        model = Scripted(np.zeros((60, 80), int), **values)
        pipeline = Compose([load, *more, dict(type='PackRefinedInputs')])
        data = pipeline(dict(img_path=str(path)))
        data = {key: [value] for key, value in data.items()}
        data = model.data_preprocessor(data)
        (sample,) = data['data_samples']
        size = sample.ori_shape if size is None else size
        found = original_pixels(sample, size, data['inputs'][0], model.data_preprocessor)
        return found.permute(1, 2, 0).numpy()

    @pytest.mark.parametrize('orientation', [1, 2, 3, 4])
    @pytest.mark.parametrize('way', ['color', 'color_ignore_orientation'])
    def test_exif_is_taken_as_the_loading_takes_it(self, tmp_path, orientation, way):
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(self.photo).save(tmp_path / 'a.png', exif=exif)
        load = dict(type='LoadImageFromFile', color_type=way)
        results = Compose([load])(dict(img_path=str(tmp_path / 'a.png')))
        resize = dict(type='Resize', scale=(40, 30))
        for more in ([], [resize], [dict(type='RandomFlip', prob=1.0), resize]):
            found = self.find(tmp_path / 'a.png', load, *more)
            np.testing.assert_array_equal(found, results['img'][..., ::-1])

    @pytest.mark.parametrize('orientation', [1, 2, 3, 4])
    @pytest.mark.parametrize('way', ['color', 'color_ignore_orientation'])
    def test_exif_with_augmentations(self, tmp_path, orientation, way):
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(self.photo).save(tmp_path / 'a.png', exif=exif)
        load = dict(type='LoadImageFromFile', color_type=way)
        results = Compose([load])(dict(img_path=str(tmp_path / 'a.png')))
        resize = [dict(type='Resize', scale_factor=factor) for factor in (0.5, 1.5)]
        flip = [dict(type='RandomFlip', prob=prob) for prob in (0.0, 1.0)]
        augment = dict(type='TestTimeAug', transforms=[resize, flip, [dict(type='PackSegInputs')]])
        data = Compose([load, augment])(dict(img_path=str(tmp_path / 'a.png')))
        segmentor = encoder_decoder(2)
        segmentor.data_preprocessor.update(self.normalised, test_cfg=dict(size_divisor=32))
        model = chained(None, 'binary', ('background', 'cat'), segmentor)
        data = {key: [[value] for value in values] for key, values in data.items()}
        (sample,) = RefinedSegTTAModel(model).test_step(data)
        np.testing.assert_array_equal(sample.ori_img, results['img'][..., ::-1])

    def test_own_pixels_are_refined_on_with_a_warning(self, tmp_path, monkeypatch):
        told = []
        monkeypatch.setattr(module, '_say_once', told.append)
        Image.fromarray(self.photo).save(tmp_path / 'a.png')
        found = self.find(
            tmp_path / 'a.png', dict(type='LoadImageFromFile'), dict(type='TurnAround')
        )
        np.testing.assert_array_equal(found, self.photo[::-1])
        assert len(told) == 1 and 'a.png does not look like the picture' in told[0]

    def test_brightness_and_flat_photos_are_no_reason(self, tmp_path, monkeypatch):
        monkeypatch.setattr(module, '_say_once', None)
        load = dict(type='LoadImageFromFile')
        for photo in (self.photo, np.full_like(self.photo, 90)):
            Image.fromarray(photo).save(tmp_path / 'a.png')
            # Values that stay normalised, as where a pipeline does it
            found = self.find(
                tmp_path / 'a.png', load, dict(type='Normalize', mean=[99.0] * 3, std=[50.0] * 3),
                values={},
            )  # fmt: skip
            np.testing.assert_array_equal(found, photo)
