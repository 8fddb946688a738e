"""LEADER, the minutiae network, written down anew from its weights: the same function in half the arithmetic.

The file as exported holds 1,337 nodes, of which a third does arithmetic on shapes, and every normalisation and
activation is spelled out in nodes that each pass over memory. Here its 948,181 parameters are read by their names and
the network is built again, with these changes, all of them exact but for rounding:

- *Pointwise chains in slices.* A block's normalisation, expansion, activation and reduction look at one pixel. They
  run slice by slice in channels-last order, as LayerNormalization, Gemm and Gelu, so that the wide hidden layer
  (4 times the channels) stays in the processor's second cache instead of passing through memory.
- *Two linear maps become one.* A block ends in ``adjust(x + reduce(h))``; as ``adjust(x) + (adjust ∘ reduce)(h)`` the
  reduction goes straight to the few channels that leave, where those are fewer.
- *Heads at half size.* What follows a head's nearest-neighbour enlargement looks at one pixel, so it is done before
  it; and a 5×5 convolution of an enlarged map is four 3×3 convolutions of the small one, one a quarter of the pixels.
- *Direction and kind only where a minutia is.* The graph takes the best positions first and runs the other two heads
  on the 9×9 cells around each: a hundredth of the work.

A sheet of 384 × 416 pixels takes 4.25 billion multiplications instead of 7.77 (26.6 thousand a pixel instead of 48.7)
and 39 million activations instead of 57.

References
----------
R. Cappelli, "LEADER", arXiv 2602.15493, and the package pyfing (MIT), whence the weights.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from biometrik.errors import ModelError

#: Most minutiae that leave the network an image: what a record can hold (ISO/IEC 19794-2:2005, 7.4.2.6).
MAX_MINUTIAE: Final = 255
#: Minutiae below this quality do not leave the network, 0..1.
QUALITY_FLOOR: Final = 0.1
#: Columns of the output: place in pixels, quality 0..1, direction as (cos, sin) with y up and of any length, and the
#: logit of being an ending.
COLUMNS: Final = ("x", "y", "quality", "cosine", "sine", "ending")
#: Height and width of the input must be multiples of this: the network halves its maps five times.
MULTIPLE_PX: Final = 32

_OPSET: Final = 20  # the first with Gelu
_IR_VERSION: Final = 9
_EPSILON: Final = 1e-3  # of every normalisation; Keras' default
_SCOPE: Final = "functional_1/"
#: Slices of a pointwise chain, by level (0: half size, each further one half of it). At half size a slice's hidden
#: layer takes 0.6 MB for a sheet of 384 × 416; from 16 to 128 slices the time is the same within 1 %.
_SLICES: Final = (64, 16, 4, 2, 1)
#: Side of the neighbourhood that decides direction and kind, in cells of the half-size map: 3 for the 5×5 pixels of
#: the last convolution, 6 more for the 7×7 of the one before.
_PATCH: Final = 9

_Array = NDArray[np.float32]


def transcribe(source: ModelProto) -> ModelProto:
    """Build the network anew from the weights of the exported one.

    Parameters
    ----------
    source : ModelProto
        LEADER.onnx as published.

    Returns
    -------
    ModelProto
        Input ``gray`` float32 (N, 1, H, W), 0..255, dark ridges; H and W multiples of 32. Output ``minutiae`` float32
        (N, K, 6): the columns of :data:`COLUMNS`, best first; K is that of the image that has most, at least 1 and at
        most 255, and the rows of the others are filled up with places of lower quality.

    Raises
    ------
    ModelError
        ``source`` is another network.
    """
    net = _Network(_Layers(source))
    gray = "gray"
    coarse = net.coarse(gray)
    fine = net.fine(gray, coarse)
    net.minutiae(fine, "minutiae")
    graph = helper.make_graph(
        net.nodes,
        "leader",
        [helper.make_tensor_value_info(gray, TensorProto.FLOAT, ["N", 1, "H", "W"])],
        [helper.make_tensor_value_info("minutiae", TensorProto.FLOAT, ["N", "K", len(COLUMNS)])],
        net.constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION)


class _Layers:
    """The exported network's parameters, by layer."""

    def __init__(self, source: ModelProto) -> None:
        self._tensors = {tensor.name: tensor for tensor in source.graph.initializer}
        self._nodes = {node.name: node for node in source.graph.node}

    def conv(self, layer: str) -> tuple[_Array, _Array]:
        """Kernel (out, in, h, w) and bias (out,)."""
        return self._tensor(f"{layer}/convolution/ReadVariableOp:0"), self._bias(layer)

    def depthwise(self, layer: str) -> _Array:
        """Kernel (channels, 1, h, w)."""
        return self._constant(f"{layer}/depthwise")

    def separable(self, layer: str) -> tuple[_Array, _Array, _Array]:
        """Depthwise kernel, pointwise kernel, bias."""
        pointwise = self._tensor(f"{layer}/separable_conv2d/ReadVariableOp_1:0")
        return self.depthwise(f"{layer}/separable_conv2d"), pointwise, self._bias(layer)

    def dilated(self, layer: str) -> tuple[_Array, _Array]:
        """Kernel and bias of a dilated convolution."""
        bias = self._constant(f"{layer}/BiasAdd").ravel()
        return self._tensor(f"{layer}/convolution/ReadVariableOp:0"), bias

    def norm(self, layer: str) -> tuple[_Array, _Array]:
        """Scale and offset (channels,) of a normalisation over channels."""
        return self._tensor(f"{layer}/Reshape:0").ravel(), self._constant(f"{layer}/add_1").ravel()

    def blur(self) -> _Array:
        """The kernel (1, 1, 5, 5) that smooths the position map."""
        return self._tensor("nms_Gaussian_blur_1/convolution/ReadVariableOp:0")

    def _bias(self, layer: str) -> _Array:
        name = f"{layer}/Squeeze:0"
        return self._tensor(name if _SCOPE + name in self._tensors else f"{layer}/Reshape:0")

    def _tensor(self, name: str) -> _Array:
        tensor = self._tensors.get(_SCOPE + name)
        if tensor is None:
            raise ModelError(f"weights: expected LEADER as published, got a network without {name}")
        return np.asarray(numpy_helper.to_array(tensor), dtype=np.float32)

    def _constant(self, node: str) -> _Array:
        # What a node reads beside its input; the exporter gave these names of no meaning.
        read = self._nodes[_SCOPE + node].input if _SCOPE + node in self._nodes else ()
        found = [self._tensors[name] for name in read if name in self._tensors]
        if len(found) != 1:
            raise ModelError(f"weights: expected LEADER as published, got a network without {node}")
        return np.asarray(numpy_helper.to_array(found[0]), dtype=np.float32)


class _Network:
    """The new graph, as it grows. Each method adds a stage and returns the name of its result."""

    def __init__(self, layers: _Layers) -> None:
        self._layers = layers
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []

    # The first U: a coarse map of what matters.

    def coarse(self, gray: str) -> str:
        """(N, 32, H/2, W/2) features that say where to look."""
        x = self._op("MaxPool", self._stem(gray, "stem0"), kernel_shape=[2, 2], strides=[2, 2])
        skips = []
        for level in range(4):
            skips.append(self._separable(x, f"enc0_{level}"))
            x = self._halved(skips[-1])
        for level in reversed(range(4)):
            x = self._joined(self._separable(x, f"dec0_{level}"), skips[level])
        return x

    # The second U, on the image and what the first has marked.

    def fine(self, gray: str, coarse: str) -> str:
        """(N, 52, H/2, W/2) features from which the heads read."""
        stem = self._op("AveragePool", self._stem(gray, "stem1"), kernel_shape=[2, 2], strides=[2, 2])
        x = self._op("Concat", self._attended(coarse), stem, axis=1)
        skips = []
        for level in range(4):
            skips.append(self._block(x, f"enc1_{level}", level))
            x = self._halved(skips[-1])
        for level in reversed(range(4)):
            x = self._joined(self._block(x, f"dec1_{level}", level + 1), skips[level])
        return x

    # From features to minutiae.

    def minutiae(self, features: str, output: str) -> None:
        """(N, K, 6): positions first, then direction and kind around each of them."""
        quality = self._suppressed(self._op("Sigmoid", self._enlarged(self._head(features, 0, 0), "head_conv_pos_1")))
        size = self._op("Shape", quality, start=2)
        flat = self._op("Reshape", quality, self._integers(0, -1))
        count = self._op("ReduceSum", self._cast(self._op("Greater", flat, self._float(QUALITY_FLOOR))), keepdims=0)
        most = self._op("Clip", count, self._scalar(1), self._scalar(MAX_MINUTIAE))
        best, at = self._ops("TopK", 2, flat, self._op("Reshape", most, self._integers(1)))
        height, width = self._ops("Split", 2, size, num_outputs=2)
        y, x = self._op("Div", at, width), self._op("Mod", at, width)
        patches = self._patches(features, y, x, height, width)
        direction = self._at(self._quarters(self._head(patches, 1, None), "head_conv_dir_1"), y, x, at)
        kind = self._at(self._quarters(self._head(patches, 2, None), "head_conv_typ_1"), y, x, at)
        places = [self._op("Unsqueeze", self._cast(v, TensorProto.FLOAT), self._integers(2)) for v in (x, y)]
        score = self._op("Unsqueeze", best, self._integers(2))
        self._op("Concat", *places, score, direction, kind, axis=2, name=output)

    def _suppressed(self, position: str) -> str:
        # Smoothed, and zero but at the greatest value of the 7×7 pixels around.
        blurred = self._op("Conv", position, self._const(self._layers.blur()), pads=[2, 2, 2, 2])
        rows = self._op("MaxPool", blurred, kernel_shape=[7, 1], pads=[3, 0, 3, 0])
        peak = self._op("MaxPool", rows, kernel_shape=[1, 7], pads=[0, 3, 0, 3])
        return self._op("Mul", blurred, self._cast(self._op("Equal", blurred, peak), TensorProto.FLOAT))

    def _patches(self, features: str, y: str, x: str, height: str, width: str) -> str:
        # (N·K, 52, 9, 9): the cells around each minutia. Beyond the map its last cells are repeated: a print has a
        # margin, so that no minutia is that near.
        two, one = self._integers(2), self._integers(1)
        rows, columns = self._op("Div", height, two), self._op("Div", width, two)
        reach = np.arange(_PATCH) - _PATCH // 2
        across = self._around(x, reach[None, :], self._op("Sub", columns, one))
        down = self._around(y, reach[:, None], self._op("Sub", rows, one))
        cells = self._op("Mul", rows, columns)
        batch = self._op("Shape", features, end=1)
        numbers = self._op("Range", self._scalar(0), self._op("Squeeze", batch), self._scalar(1))
        image = self._op("Mul", self._op("Reshape", numbers, self._integers(-1, 1, 1, 1)), cells)
        index = self._op("Add", self._op("Add", self._op("Mul", down, columns), across), image)
        channels_first = self._op("Transpose", features, perm=[1, 0, 2, 3])
        table = self._op("Reshape", channels_first, self._integers(0, -1))
        gathered = self._op("Gather", table, index, axis=1)  # (52, N, K, 9, 9)
        patches = self._op("Transpose", gathered, perm=[1, 2, 0, 3, 4])
        return self._op("Reshape", patches, self._integers(-1, 52, _PATCH, _PATCH))

    def _around(self, place: str, reach: NDArray[Any], last: str) -> str:
        cell = self._op("Unsqueeze", self._op("Div", place, self._integers(2)), self._integers(2, 3))
        moved = self._op("Add", cell, self._const(reach[None, None].astype(np.int64)))
        return self._op("Max", self._op("Min", moved, last), self._integers(0))

    def _at(self, quarters: str, y: str, x: str, like: str) -> str:
        # Of a patch's four pixels (N·K, 4·C, 1, 1) the one that is meant, as (N, K, C).
        two = self._integers(2)
        quarter = self._op("Add", self._op("Mul", self._op("Mod", y, two), two), self._op("Mod", x, two))
        wanted = self._op("Unsqueeze", self._op("Unsqueeze", quarter, two), self._integers(3))
        places = self._op("Shape", like)
        shape = self._op("Concat", places, self._integers(-1, 4), axis=0)
        values = self._op("Reshape", quarters, shape)
        spread = self._op(
            "Expand", wanted, self._op("Concat", self._op("Shape", values, end=3), self._integers(1), axis=0)
        )
        return self._op("Squeeze", self._op("GatherElements", values, spread, axis=3), self._integers(3))

    # Building blocks.

    def _stem(self, gray: str, layer: str) -> str:
        plain, bias = self._layers.conv(f"{layer}_conv_1")
        dilated, dilated_bias = self._layers.dilated(f"{layer}_dilated_conv_1")
        # Both as one 9×9 kernel would be three times the work; two convolutions it is.
        near = self._op("Conv", gray, self._const(plain), self._const(bias), pads=[2] * 4)
        far = self._op("Conv", gray, self._const(dilated), self._const(dilated_bias), pads=[4] * 4, dilations=[2, 2])
        return self._normed(self._op("Concat", near, far, axis=1), f"{layer}_ln_1")

    def _separable(self, x: str, layer: str) -> str:
        kernel, pointwise, bias = self._layers.separable(f"{layer}_conv_1")
        deep = self._depthwise(x, kernel)
        mixed = self._op("Conv", deep, self._const(pointwise), self._const(bias))
        return self._normed(mixed, f"{layer}_ln_1")

    def _normed(self, x: str, layer: str) -> str:
        # Normalised over channels and activated; channels last for as long as that takes.
        last = self._op("Transpose", x, perm=[0, 2, 3, 1])
        scale, offset = (self._const(values) for values in self._layers.norm(layer))
        normed = self._op("LayerNormalization", last, scale, offset, axis=-1, epsilon=_EPSILON)
        return self._op("Transpose", self._gelu(normed), perm=[0, 3, 1, 2])

    def _attended(self, x: str) -> str:
        seen = []
        for reach in (1, 3, 6):
            layer = f"attention_conv_d{reach}_1"
            kernel, bias = self._layers.conv(layer) if reach == 1 else self._layers.dilated(layer)
            near = self._op(
                "Conv", x, self._const(kernel), self._const(bias), pads=[reach] * 4, dilations=[reach, reach]
            )
            seen.append(self._gelu(near))
        kernel, bias = self._layers.conv("attention_s_1")
        weight = self._op("Conv", self._op("Concat", *seen, axis=1), self._const(kernel), self._const(bias))
        return self._op("Mul", x, self._op("Sigmoid", weight))

    def _block(self, x: str, layer: str, level: int) -> str:
        # ConvNeXt's block: depthwise 7×7, normalise, widen, activate, narrow, add, adjust.
        return self._residual(x, self._depthwise(x, self._layers.depthwise(f"{layer}_depthwise_conv_1")), layer, level)

    def _residual(self, x: str, deep: str, layer: str, level: int | None) -> str:
        widen, widen_bias = self._matrix(f"{layer}_conv_exp_1")
        narrow, narrow_bias = self._matrix(f"{layer}_conv_red_1")
        adjust, adjust_bias = self._matrix(f"{layer}_conv_adj_1")
        scale, offset = self._layers.norm(f"{layer}_ln_1")
        # The normalisation's own scale and offset are the next matrix's business.
        widen, widen_bias = scale[:, None] * widen, offset @ widen + widen_bias
        fused = adjust.shape[1] < adjust.shape[0]
        if fused:
            narrow, narrow_bias = narrow @ adjust, narrow_bias @ adjust + adjust_bias
        weights = [self._const(w) for w in (np.ones_like(scale), widen, widen_bias, narrow, narrow_bias)]

        last = self._op("Transpose", deep, perm=[0, 2, 3, 1])
        if len(scale) % 4:
            last = self._op("Slice", last, self._integers(0), self._integers(len(scale)), self._integers(3))
        rows = self._op("Reshape", last, self._integers(-1, len(scale)))
        slices = 1 if level is None else _SLICES[level]
        parts = self._ops("Split", slices, rows, num_outputs=slices, axis=0) if slices > 1 else [rows]
        done = [self._chain(part, *weights) for part in parts]
        narrowed = self._op("Concat", *done, axis=0) if slices > 1 else done[0]
        shape = self._op("Concat", self._op("Shape", last, end=3), self._integers(narrow.shape[1]), axis=0)
        hidden = self._op("Transpose", self._op("Reshape", narrowed, shape), perm=[0, 3, 1, 2])

        kernel = self._const(np.ascontiguousarray(adjust.T)[:, :, None, None])
        if fused:
            return self._op("Add", self._op("Conv", x, kernel), hidden)
        return self._op("Conv", self._op("Add", x, hidden), kernel, self._const(adjust_bias))

    def _chain(self, rows: str, ones: str, widen: str, widen_bias: str, narrow: str, narrow_bias: str) -> str:
        normed = self._op("LayerNormalization", rows, ones, axis=-1, epsilon=_EPSILON)
        wide = self._gelu(self._op("Gemm", normed, widen, widen_bias))
        return self._op("Gemm", wide, narrow, narrow_bias)

    def _head(self, x: str, number: int, level: int | None) -> str:
        # (N, 4, h, w) before the last convolution. Of a patch, for which level is None, only the 3×3 in the middle.
        layer = f"head_{number}_ibc"
        kernel = self._layers.depthwise(f"{layer}_depthwise_conv_1")
        if level is None:
            deep = self._op("Conv", x, self._const(kernel), group=len(kernel))
            edge = (_PATCH - 3) // 2
            starts, ends = self._integers(edge, edge), self._integers(edge + 3, edge + 3)
            x = self._op("Slice", x, starts, ends, self._integers(2, 3))
        else:
            deep = self._depthwise(x, kernel)
        x = self._residual(x, deep, layer, level)
        x = self._op("Conv", x, *(self._const(w) for w in self._layers.conv(f"head_{number}_conv1_1")))
        last = self._op("Transpose", x, perm=[0, 2, 3, 1])
        scale, offset = (self._const(values) for values in self._layers.norm(f"head_{number}_ln_1"))
        normed = self._op("LayerNormalization", last, scale, offset, axis=-1, epsilon=_EPSILON)
        x = self._op("Transpose", normed, perm=[0, 3, 1, 2])
        return self._gelu(self._op("Conv", x, *(self._const(w) for w in self._layers.conv(f"head_{number}_conv2_1"))))

    def _enlarged(self, x: str, layer: str) -> str:
        # The last convolution at full size: of each cell its four pixels, then put in their places.
        return self._op("DepthToSpace", self._quarters(x, layer, pads=[1] * 4), blocksize=2, mode="CRD")

    def _quarters(self, x: str, layer: str, **attributes: Any) -> str:
        kernel, bias = self._layers.conv(layer)
        small = np.stack([_small_kernel(kernel, row, column) for row in (0, 1) for column in (0, 1)], axis=1)
        small = small.reshape(-1, *small.shape[2:])  # out channel, then quarter
        return self._op("Conv", x, self._const(small), self._const(bias.repeat(4)), **attributes)

    def _depthwise(self, x: str, kernel: _Array) -> str:
        # ONNX Runtime has a fast kernel for multiples of four channels only: zeros make up the number. The result
        # keeps them, behind the others.
        edge, lacking = kernel.shape[2] // 2, -len(kernel) % 4
        if lacking:
            x = self._op("Pad", x, self._integers(0, lacking), "", self._integers(1))
            kernel = np.concatenate([kernel, np.zeros((lacking, *kernel.shape[1:]), dtype=np.float32)])
        return self._op("Conv", x, self._const(kernel), group=len(kernel), pads=[edge] * 4)

    def _halved(self, x: str) -> str:
        # The first half of the channels by their greatest, the second by their mean.
        greatest, mean = self._ops("Split", 2, x, num_outputs=2, axis=1)
        pooled = [
            self._op(kind, part, kernel_shape=[2, 2], strides=[2, 2])
            for kind, part in (("MaxPool", greatest), ("AveragePool", mean))
        ]
        return self._op("Concat", *pooled, axis=1)

    def _joined(self, x: str, skip: str) -> str:
        large = self._op(
            "Resize",
            x,
            "",
            self._const(np.array([1, 1, 2, 2], dtype=np.float32)),
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )
        return self._op("Concat", large, skip, axis=1)

    def _matrix(self, layer: str) -> tuple[_Array, _Array]:
        kernel, bias = self._layers.conv(layer)
        return np.ascontiguousarray(kernel[:, :, 0, 0].T), bias

    def _gelu(self, x: str) -> str:
        return self._op("Gelu", x, approximate="tanh")

    # Nodes and constants.

    def _op(self, kind: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        return self._ops(kind, 1, *inputs, name=name, **attributes)[0]

    def _ops(self, kind: str, count: int, *inputs: str, name: str = "", **attributes: Any) -> list[str]:
        # One node with several results.
        names = [name or f"{kind.lower()}_{len(self.nodes)}_{i}" for i in range(count)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, **attributes))
        return names

    def _cast(self, x: str, to: int = TensorProto.INT64) -> str:
        return self._op("Cast", x, to=to)

    def _const(self, value: NDArray[Any]) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def _float(self, value: float) -> str:
        return self._const(np.array(value, dtype=np.float32))

    def _integers(self, *values: int) -> str:
        return self._const(np.array(values, dtype=np.int64))

    def _scalar(self, value: int) -> str:
        return self._const(np.array(value, dtype=np.int64))


def _small_kernel(kernel: _Array, row: int, column: int) -> _Array:
    # 5×5 taps around pixel 2i + row of an enlarged map fall on cells i − 1, i, i + 1: sums over the taps of a cell.
    taps = np.arange(5)
    small = np.zeros((*kernel.shape[:2], 3, 3), dtype=np.float32)
    for i in taps:
        for j in taps:
            small[:, :, (row + i) // 2, (column + j) // 2] += kernel[:, :, i, j]
    return small
