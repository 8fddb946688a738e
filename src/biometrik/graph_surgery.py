"""Rewriting ONNX graphs to compute the same, faster. Imported only when a folded file is not cached yet."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, checker, helper, numpy_helper

from biometrik.errors import ModelError
from biometrik.leader_graph import transcribe
from biometrik.manifest import Normalisation, PReluForm, Recipe

#: ONNX file format that folded models state; from 4 on, weights need not be graph inputs.
_IR_VERSION: Final = 8


def fold(source: bytes, recipe: Recipe) -> bytes:
    """Rewrite a network.

    Always: weights stored as block-quantised integers (DequantizeLinear with ``block_size``, and the Reshape behind
    it) become plain float32; Dropout goes; inputs that are weights go. A network with a transcription is built anew
    from its weights instead.

    Parameters
    ----------
    source : bytes
        An ONNX model with one image input (N, C, H, W) and its weights inside.
    recipe : Recipe
        What else to do.

    Returns
    -------
    bytes
        An ONNX model; the same bytes for the same source, recipe and version of the ``onnx`` package.

    Raises
    ------
    ModelError
        ``source`` is no such model, or the recipe does not fit it.
    """
    try:
        model = onnx.load_model_from_string(source)
        _refuse_external_data(model)
        checker.check_model(model)
    except ModelError:
        raise
    except Exception as error:  # the parser and the checker have no common type of their own
        raise ModelError(f"weights: expected an ONNX model, got {_first_line(error)}") from error
    if recipe.transcription:
        return _serialised(transcribe(model))
    graph = model.graph
    _fold_weights(graph)
    _drop_dropout(graph)
    _sweep(graph)  # now the image is the only input left
    if recipe.bgr_to_rgb:
        _reverse_input_channels(graph)
    if recipe.prelu is PReluForm.REWRITTEN:
        _rewrite_prelu(graph)
    if recipe.normalisation is not None:
        _normalise(graph, recipe.normalisation)
    if recipe.free_batch:
        _free_batch(graph)
    if recipe.free_size:
        _free_size(graph)
    _sweep(graph)
    model.ir_version = max(model.ir_version, _IR_VERSION)
    return _serialised(model)


def _serialised(model: ModelProto) -> bytes:
    try:
        checker.check_model(model)
    except checker.ValidationError as error:
        raise ModelError(f"weights: expected a model that can be folded, got {_first_line(error)}") from error
    return bytes(model.SerializeToString(deterministic=True))


def image_input(graph: GraphProto) -> Any:
    """Return the graph's one input that is not a weight.

    Raises
    ------
    ModelError
        There is none, there are several, or it is not (N, C, H, W).
    """
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    if len(inputs) != 1 or len(inputs[0].type.tensor_type.shape.dim) != 4:
        raise ModelError(f"weights: expected one input (N, C, H, W), got {[value.name for value in inputs]}")
    return inputs[0]


def _refuse_external_data(model: ModelProto) -> None:
    # Weights in a second file would escape the sha256.
    for tensor in model.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise ModelError(f"weights: expected all inside the file, got {tensor.name!r} in a file of its own")


def _fold_weights(graph: GraphProto) -> None:
    constants = {tensor.name: tensor for tensor in graph.initializer}
    outputs = {value.name for value in graph.output}
    folded: dict[str, NDArray[np.float32]] = {}
    kept = []
    for node in graph.node:
        result = node.output[0] if node.output else ""
        if result not in outputs and _is_block_quantised(node) and all(name in constants for name in node.input):
            folded[result] = _dequantised(node, *(numpy_helper.to_array(constants[name]) for name in node.input))
        elif node.op_type == "Reshape" and node.input[0] in folded and node.input[1] in constants:
            shape = numpy_helper.to_array(constants[node.input[1]])
            folded[result] = folded[node.input[0]].reshape(shape)
        else:
            kept.append(node)
    graph.initializer.extend(numpy_helper.from_array(weights, name) for name, weights in folded.items())
    _replace_nodes(graph, kept)


def _is_block_quantised(node: NodeProto) -> bool:
    return node.op_type == "DequantizeLinear" and _attribute(node, "block_size", 0) > 0


def _dequantised(
    node: NodeProto, values: NDArray[Any], scale: NDArray[Any], zero: NDArray[Any] | None = None
) -> NDArray[np.float32]:
    # ONNX operator DequantizeLinear-21: along `axis`, each `block_size` values share a scale and a zero point.
    axis, block = _attribute(node, "axis", 1), _attribute(node, "block_size", 0)

    def spread(blocks: NDArray[Any]) -> NDArray[np.float32]:
        repeated = np.repeat(blocks.astype(np.float32), block, axis=axis)
        return repeated.take(range(values.shape[axis]), axis=axis)

    shifted = values.astype(np.float32) - (spread(zero) if zero is not None else np.float32(0))
    return np.ascontiguousarray(shifted * spread(scale), dtype=np.float32)


def _drop_dropout(graph: GraphProto) -> None:
    # An Identity keeps every name in place; runtimes remove it.
    for i, node in enumerate(graph.node):
        if node.op_type == "Dropout" and len(node.output) == 1 and len(node.input) < 3:
            graph.node[i].CopyFrom(helper.make_node("Identity", node.input[:1], node.output, name=node.name))


def _reverse_input_channels(graph: GraphProto) -> None:
    image = image_input(graph).name
    constants = {tensor.name: tensor for tensor in graph.initializer}
    readers = [node for node in graph.node if image in node.input]
    for node in readers:
        kernel = constants.get(node.input[1]) if node.op_type == "Conv" else None
        if kernel is None or kernel.dims[1] != 3 or _attribute(node, "group", 1) != 1:
            raise ModelError(f"weights: expected a convolution over 3 channels first, got {node.op_type}")
        kernel.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(kernel)[:, ::-1].copy(), kernel.name))


def _rewrite_prelu(graph: GraphProto) -> None:
    constants = {tensor.name: tensor for tensor in graph.initializer}
    nodes: list[NodeProto] = []
    for node in graph.node:
        if node.op_type == "PRelu" and node.input[1] in constants:
            slope = numpy_helper.to_array(constants[node.input[1]])
            nodes.extend(_prelu_nodes(graph, node.input[0], slope, node.output[0]))
        else:
            nodes.append(node)
    _replace_nodes(graph, nodes)


def _prelu_nodes(graph: GraphProto, x: str, slope: NDArray[Any], y: str) -> Iterator[NodeProto]:
    # PRelu(x) = a·x + (1 − a)·Relu(x). Where no slope exceeds 1, (1 − a) may move inside the Relu, and ONNX Runtime
    # fuses that Relu with the convolution before it.
    linear, rest = f"{y}/slope", f"{y}/rest"
    graph.initializer.append(numpy_helper.from_array(slope, linear))
    graph.initializer.append(numpy_helper.from_array(1 - slope, rest))
    yield helper.make_node("Mul", [x, linear], [f"{y}/linear"])
    if (slope <= 1).all():
        yield helper.make_node("Mul", [x, rest], [f"{y}/scaled"])
        yield helper.make_node("Relu", [f"{y}/scaled"], [f"{y}/rectified"])
    else:
        yield helper.make_node("Relu", [x], [f"{y}/positive"])
        yield helper.make_node("Mul", [f"{y}/positive", rest], [f"{y}/rectified"])
    yield helper.make_node("Add", [f"{y}/rectified", f"{y}/linear"], [y])


def _normalise(graph: GraphProto, normalisation: Normalisation) -> None:
    image = image_input(graph)
    if normalisation.unless_embedded and _normalises_itself(graph, image.name):
        return
    # The input takes a new name and the normalised image the old one: no reader need be renamed.
    raw, inner = f"{image.name}/raw", image.name
    mean = numpy_helper.from_array(np.array(normalisation.mean, dtype=np.float32), f"{inner}/mean")
    scale = numpy_helper.from_array(np.array(1 / normalisation.std, dtype=np.float32), f"{inner}/scale")
    graph.initializer.extend([mean, scale])
    image.name = raw
    centre = helper.make_node("Sub", [raw, mean.name], [f"{inner}/centred"])
    _replace_nodes(graph, [centre, helper.make_node("Mul", [f"{inner}/centred", scale.name], [inner]), *graph.node])


def _normalises_itself(graph: GraphProto, image: str) -> bool:
    readers = [node for node in graph.node if image in node.input]
    if [node.op_type for node in readers] != ["Sub"]:
        return False
    return [node.op_type for node in graph.node if readers[0].output[0] in node.input] == ["Mul"]


def _free_batch(graph: GraphProto) -> None:
    for value in (image_input(graph), *graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "N"
    # A constant Reshape to [1, -1, …] names the batch; 0 copies it instead (ONNX operator Reshape).
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        target = constants.get(node.input[1]) if node.op_type == "Reshape" else None
        if target is not None and numpy_helper.to_array(target)[:2].tolist() == [1, -1]:
            shape = numpy_helper.to_array(target).copy()
            shape[0] = 0
            target.CopyFrom(numpy_helper.from_array(shape, target.name))


def _free_size(graph: GraphProto) -> None:
    height, width = image_input(graph).type.tensor_type.shape.dim[2:]
    height.dim_param, width.dim_param = "H", "W"
    for value in graph.output:
        for axis, dimension in enumerate(value.type.tensor_type.shape.dim[1:-1], start=1):
            dimension.dim_param = f"{value.name}_{axis}"


def _sweep(graph: GraphProto) -> None:
    # Drops constants and inputs that nothing reads, and shapes that may no longer hold.
    used = set(_names_read(graph))
    _replace_nodes(graph, [n for n in graph.node if n.op_type != "Constant" or used.intersection(n.output)])
    tensors = {tensor.name: tensor for tensor in graph.initializer if tensor.name in used}
    inputs = [value for value in graph.input if value.name in used and value.name not in tensors]
    del graph.initializer[:], graph.input[:], graph.value_info[:]
    graph.initializer.extend(tensors.values())
    graph.input.extend(inputs)


def _names_read(graph: GraphProto) -> Iterator[str]:
    yield from (value.name for value in graph.output)
    for node in graph.node:
        yield from node.input
        for attribute in node.attribute:
            for inner in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
                yield from _names_read(inner)


def _replace_nodes(graph: GraphProto, nodes: Iterable[NodeProto]) -> None:
    kept = list(nodes)
    del graph.node[:]
    graph.node.extend(kept)


def _attribute(node: NodeProto, name: str, default: int) -> int:
    for attribute in node.attribute:
        if attribute.name == name:
            return int(attribute.i)
    return default


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
