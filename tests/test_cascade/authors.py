"""The authors' package ``segmentation-refinement``, where it is installed, beside ours."""

import importlib
import importlib.machinery
import sys
import types

import pytest
import torch

NAME = 'segmentation_refinement'


def import_authors(module):
    """Import ``eval_helper``, ``models.psp.pspnet``... of the package, or skip the test.

    The package's own ``__init__`` needs torchvision, which these modules don't: it is not run.
    """
    spec = importlib.machinery.PathFinder.find_spec(NAME)
    if spec is None:
        pytest.skip('needs `pip install --no-deps segmentation-refinement`')
    if NAME not in sys.modules:
        package = types.ModuleType(NAME)
        package.__path__ = list(spec.submodule_search_locations)
        sys.modules[NAME] = package
    return importlib.import_module(f'{NAME}.{module}')


def as_authors_model(refine_pass):
    """Our pass of the network as the callable that the authors' steps expect."""

    def model(image, mask, inter_s8=None, inter_s4=None):
        assert inter_s4 is None
        if inter_s8 is None:
            first = refine_pass(image, torch.cat([mask, mask, mask], 1), (8,))
            inter_s8 = torch.tanh(first[8])
        second = refine_pass(image, torch.cat([mask, inter_s8, inter_s8], 1), (8, 4))
        masks = torch.cat([mask, torch.tanh(second[8]), torch.tanh(second[4])], 1)
        third = refine_pass(image, masks, (8, 4, 1))
        return {
            'pred_224': third[1].sigmoid(),
            'pred_56_2': third[4].sigmoid(),
            'pred_28_3': third[8].sigmoid(),
        }

    return model


@torch.no_grad()
def refine_like_authors(model, image, mask, fast, L):
    """The authors' ``Refiner.refine`` without its loading of weights.

    Args:
        model: as :func:`as_authors_model` gives, or their ``RefinementModule``.
        image: (1, 3, H, W) normalised.
        mask: (1, 1, H, W) of -1 and 1.

    Returns:
        (H, W) uint8 array, floor(255 p).
    """
    steps = import_authors('eval_helper')
    step = steps.process_im_single_pass if fast else steps.process_high_res_im
    return (step(model, image, mask, L)[0, 0].numpy() * 255).astype('uint8')
