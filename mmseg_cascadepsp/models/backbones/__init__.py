from .efficientnet_lite import EfficientNetLite, RefinementEfficientNetLite
from .resnet import RefinementResNet

__all__ = ['EfficientNetLite', 'RefinementEfficientNetLite', 'RefinementResNet']
