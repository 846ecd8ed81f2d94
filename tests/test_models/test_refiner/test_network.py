"""The refinement module: its parts against plain versions, and what a config can change."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from mmseg_cascadepsp.models import RefinementResNet
from mmseg_cascadepsp.models.refiner import PyramidPooling, RefinementHead, UpsamplingBlock

LITE = 'configs/_base_/models/cascadepsp_lite.py'
NARROW = {
    'model.backbone.out_channels': 16,
    'model.decode_head.in_channels': (32, 24, 16),
    'model.decode_head.pool_channels': 8,
    'model.decode_head.up_channels': (8, 8, 4),
}


def build(**changes):
    config = Config.fromfile(LITE)
    config.merge_from_dict({**NARROW, **changes})
    torch.manual_seed(0)
    return MODELS.build(config.model)


def sample(height=32, width=40, truth=True):
    result = SegDataSample()
    mask = np.zeros((1, height, width), np.uint8)
    mask[:, 8:20, 8:30] = 255
    result.coarse_mask = PixelData(data=torch.from_numpy(mask))
    if truth:
        result.gt_sem_seg = PixelData(data=torch.from_numpy(mask))
    return dict(inputs=torch.randint(0, 256, (3, height, width), dtype=torch.uint8), sample=result)


def batch(*samples):
    return dict(inputs=[s['inputs'] for s in samples], data_samples=[s['sample'] for s in samples])


def test_pyramid_pooling_equals_the_concatenated_form():
    torch.manual_seed(0)
    module = PyramidPooling(6, 5)
    x = torch.randn(2, 6, 9, 13)
    maps = [
        F.interpolate(stage(F.adaptive_avg_pool2d(x, size)), (9, 13), mode='bilinear')
        for stage, size in zip(module.stages, (1, 2, 3, 6), strict=True)
    ]
    plain = F.relu(module.bottleneck(torch.cat((*maps, x), dim=1)))
    torch.testing.assert_close(module(x), plain, atol=2e-6, rtol=0)


def test_upsampling_block_equals_the_form_with_the_shortcut_last():
    torch.manual_seed(0)
    module = UpsamplingBlock(6, 3, 5, dict(type='BN')).eval()
    x, skip = torch.randn(2, 6, 4, 5), torch.randn(2, 3, 8, 10)
    large = F.interpolate(x, scale_factor=2, mode='bilinear')
    p = module.conv(torch.cat((large, skip), dim=1)) + module.shortcut(large)
    torch.testing.assert_close(module(x, skip), p + module.conv2(p), atol=2e-6, rtol=0)


def test_outputs_do_not_depend_on_which_others_are_asked_for():
    model = build()
    model.eval()
    image, masks = torch.randn(1, 3, 32, 40), torch.randn(1, 3, 32, 40)
    with torch.no_grad():
        everything = model.refine_pass(image, masks, (8, 4, 1))
        for strides in ((8,), (4,), (1,), (8, 4), (4, 1)):
            some = model.refine_pass(image, masks, strides)
            assert tuple(some) == strides
            for stride in strides:
                assert some[stride].shape == (1, 1, 32, 40)
                torch.testing.assert_close(some[stride], everything[stride])


@pytest.mark.slow
@pytest.mark.parametrize('strides', [(8, 4, 1), (8, 1), (1,), (8,)])
def test_ablations_of_the_paper_are_configs(strides):
    """Table 1: one pass of stride 8, one of stride 1, two passes, three passes."""
    model = build(**{'model.decode_head.strides': strides})
    data = model.data_preprocessor(batch(sample(), sample()), training=True)
    losses = model(**data, mode='loss')
    assert {name.split('.')[0] for name in losses} == {f'pass{i + 1}' for i in range(len(strides))}
    sum(losses.values()).backward()
    assert all(p.grad is not None for p in model.decode_head.outputs.parameters())
    model.eval()
    predicted = model(**data, mode='predict')[0]
    assert predicted.pred_sem_seg.data.shape == (1, 32, 40)


def test_strides_that_make_no_cascade_are_refused():
    with pytest.raises(ValueError, match=r'strides must be among.*got \(1, 8\)'):
        RefinementHead(strides=(1, 8))


def test_preprocessor_puts_rgb_and_mask_together():
    model = build()
    one = sample(24, 32)
    data = model.data_preprocessor(batch(one))
    assert data['inputs'].shape == (1, 4, 24, 32)
    mask = one['sample'].coarse_mask.data.float() / 127.5 - 1
    torch.testing.assert_close(data['inputs'][0, 3:], mask)
    rgb = one['inputs'].flip(0)
    torch.testing.assert_close(data['inputs'][:, :3], model.data_preprocessor.normalize(rgb[None]))
    expected = (rgb[0, 0, 0] / 255 - 0.485) / 0.229
    torch.testing.assert_close(data['inputs'][0, 0, 0, 0], expected, atol=1e-5, rtol=0)


def test_preprocessor_pads_unequal_crops_with_background():
    model = build()
    data = model.data_preprocessor(batch(sample(32, 40), sample(24, 32)), training=True)
    assert data['inputs'].shape == (2, 4, 32, 40)
    assert (data['inputs'][1, 3, 24:] == -1).all()
    assert (data['data_samples'][1].gt_sem_seg.data[:, 24:] == 0).all()


def test_a_sample_without_coarse_mask_is_told():
    model = build()
    one = sample()
    del one['sample'].coarse_mask
    with pytest.raises(ValueError, match='no coarse_mask'):
        model.data_preprocessor(batch(one))


def test_a_coarse_mask_that_was_not_cropped_with_its_image_is_told():
    one = sample(32, 40)
    one['sample'].coarse_mask = sample(48, 40)['sample'].coarse_mask
    with pytest.raises(ValueError, match=r'coarse_mask of \(48, 40\) for an image of \(32, 40\)'):
        build().data_preprocessor(batch(one))


def test_imagenet_weights_are_widened_with_zeros(tmp_path):
    torch.manual_seed(0)
    three = RefinementResNet(18, in_channels=3, base_channels=8)
    torch.save(three.state_dict(), tmp_path / 'three.pth')
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'three.pth'))
    six = RefinementResNet(18, base_channels=8, init_cfg=init_cfg)
    six.init_weights()
    assert (six.conv1.weight[:, 3:] == 0).all()
    x = torch.randn(1, 3, 32, 32)
    three.eval()
    six.eval()
    with torch.no_grad():
        for a, b in zip(three(x), six(torch.cat((x, torch.randn(1, 3, 32, 32)), 1)), strict=True):
            torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


def test_missing_imagenet_weights_say_how_to_go_on(tmp_path):
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'none.pth'))
    with pytest.raises(OSError, match='model.backbone.init_cfg=None'):
        RefinementResNet(18, base_channels=8, init_cfg=init_cfg).init_weights()


def test_imagenet_weights_of_another_network_are_refused(tmp_path):
    torch.save({'conv1.weight': torch.zeros(64, 3, 7, 7)}, tmp_path / 'other.pth')
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'other.pth'))
    with pytest.raises(ValueError, match='does not fit ResNet-18: it has no bn1.weight'):
        RefinementResNet(18, init_cfg=init_cfg).init_weights()
