"""The photo's own pixels: from the file, from a transform, or out of the segmentor's input."""

import numpy as np
import pytest
import torch
from mmengine.dataset import Compose

from mmseg_cascadepsp.models.chain.original_pixels import original_pixels
from tests.chaining import Scripted, chained, labels_of, red_disc, sample_of, write_picture


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
