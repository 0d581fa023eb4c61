"""Measurements on ONNX Runtime; never imports torch or onnx."""
