import pytest

from nasflow.data.tensors import InputSpec, OutputSpec
from nasflow.spaces._base import Space
from nasflow.spaces.cnn import CnnSpace
from nasflow.spaces.mlp import MlpSpace
from nasflow.testing import SpaceConformance


def images(height: int, width: int, channels: int) -> InputSpec:
    return InputSpec(image=(height, width, channels), image_mean=(99.0,) * channels, image_std=(60.0,) * channels)


class Cnn(SpaceConformance):
    output = OutputSpec(classes=10)
    samples = 60

    def make(self) -> Space:
        return CnnSpace(inputs=self.inputs, output=self.output)


class TestCnnDigits(Cnn):
    inputs = images(8, 8, 1)


class TestCnnFashion(Cnn):
    inputs = images(28, 28, 1)


class TestCnnPhotos(Cnn):
    inputs = images(224, 224, 3)


class TestCnnOnePixel(Cnn):
    inputs = images(1, 1, 1)


class TestCnnStrip(Cnn):
    inputs = images(3, 50, 3)


class Mlp(SpaceConformance):
    output = OutputSpec(classes=2)
    samples = 60

    def make(self) -> Space:
        return MlpSpace(inputs=self.inputs, output=self.output)


class TestMlpMixed(Mlp):
    inputs = InputSpec(numeric=4, cardinalities=(3, 10))


class TestMlpBinned(Mlp):
    inputs = InputSpec(numeric=3, edges=((-1.0, 0.0, 2.0), (), (0.0, 1.0)), discrete=(7,), cardinalities=(3,))


class TestMlpBinnedWithoutText(Mlp):
    inputs = InputSpec(numeric=2, edges=((-1.0, 0.0, 2.0), (-1.0, 1.0)), discrete=(7, 5))


class TestMlpNumericRegression(Mlp):
    inputs = InputSpec(numeric=10)
    output = OutputSpec(classes=None, mean=150.0, std=77.0)


class TestMlpCategorical(Mlp):
    inputs = InputSpec(cardinalities=(5,))
    output = OutputSpec(classes=3)


def test_spaces_refuse_the_other_kind_of_data() -> None:
    with pytest.raises(ValueError, match="image"):
        CnnSpace(inputs=InputSpec(numeric=3), output=OutputSpec(classes=2))
    with pytest.raises(ValueError, match="columns"):
        MlpSpace(inputs=images(8, 8, 1), output=OutputSpec(classes=2))
