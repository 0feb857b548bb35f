"""Turns models of PyTorch and ONNX into `.puni` files: importers, fusion, quantization, writer."""
