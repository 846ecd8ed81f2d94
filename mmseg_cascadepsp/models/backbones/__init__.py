from .resnet import RefinementResNet

__all__ = ['RefinementResNet']
