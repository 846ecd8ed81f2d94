"""Test-time augmentation of a segmentor with a refiner behind it."""

from collections.abc import Mapping

from mmseg.models.segmentors import SegTTAModel
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import nn

from mmseg_cascadepsp.errors import InvalidTypeError

from .refined_segmentor import RefinedSegmentor


@MODELS.register_module()
class RefinedSegTTAModel(SegTTAModel):
    """Test-time augmentation of a :class:`RefinedSegmentor`.

    Logits of the segmentor are averaged over all augmented versions of a photo, at the size of the
    photo. The resulting label map is refined once.

    In a config, write ``tta_model = dict(type='RefinedSegTTAModel')``. ``tools/test.py`` sets it.

    Args:
        module: A :class:`RefinedSegmentor`, or its config.
        kwargs: See :class:`mmengine.model.BaseTTAModel`.

    Raises:
        InvalidTypeError: ``module`` is something else.

    Example:
        >>> from mmseg.models.data_preprocessor import SegDataPreProcessor
        >>> segmentor = nn.Identity()  # a network of MMSeg in practice
        >>> segmentor.data_preprocessor = SegDataPreProcessor()
        >>> tta = RefinedSegTTAModel(RefinedSegmentor(segmentor))
        >>> tta.module.enlarge
        'logits'
    """

    def __init__(self, module: dict | nn.Module, **kwargs) -> None:
        super().__init__(module, **kwargs)
        if not isinstance(self.module, RefinedSegmentor):
            raise InvalidTypeError(
                'RefinedSegTTAModel augments a RefinedSegmentor, got '
                f'{type(self.module).__name__}; use SegTTAModel for it'
            )

    def test_step(self, data) -> list[SegDataSample]:
        """Segment all augmented versions of a photo, and refine the mean result once."""
        refined = self.module
        self.module = refined.segmentor
        try:
            samples = super().test_step(data)
        finally:
            self.module = refined
        # seg_logits, and what is said of flips and sizes, are those of the last version only.
        if isinstance(data, Mapping):
            last = {key: value[-1] for key, value in data.items()}
        else:
            last = [value[-1] for value in data]
        inputs = refined.data_preprocessor(last, False)['inputs']
        return refined.refine_samples(samples, inputs, use_logits=False)
