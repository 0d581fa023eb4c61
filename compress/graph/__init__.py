"""ONNX graphs: writing, checking and quantizing them (needs the train extra)."""
