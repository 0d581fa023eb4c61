# What a checkout needs. The first target that is asked for makes .venv; nothing is installed twice.
#
#   make demo     teacher -> students -> ONNX -> table -> gate, on real digits, in some minutes
#   make test     what CI runs: style, types, the default test suite
#   make check    style and types alone
#   make format   rewrite the code in the project's style
#   make bench    how fast this machine distills

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO_RUN := runs/demo
DEMO_OUT := exported/demo

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help demo test check format bench

help:
	@sed -n 's/^#   //p' Makefile

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo 'error: $(PYTHON) is older than Python 3.11; choose one: make PYTHON=python3.12' >&2; exit 4; }
	@echo 'installing into $(VENV): PyTorch and its CUDA libraries are large, this is needed once'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(STAMP)
	$(BIN)/compress distill --data digits --run-dir $(DEMO_RUN)
	$(BIN)/compress export $(DEMO_RUN) --out $(DEMO_OUT) --force
	$(BIN)/compress bench $(DEMO_OUT)
	$(BIN)/compress gate $(DEMO_OUT) --min-top1 0.97 --max-top1-drop 0.02 --max-quant-drop 0.01 \
		--max-latency-ratio 0.8
	@echo
	@echo 'the run         $(DEMO_RUN)/      manifest, epochs.jsonl, weights, predictions, curves'
	@echo 'the artifacts   $(DEMO_OUT)/  one folder per model: model.onnx, model.int8.onnx, README.md'
	@echo 'the gate again  $(BIN)/compress gate $(DEMO_OUT) --min-top1 0.99'
	@echo 'your own images $(BIN)/compress distill --data FOLDER --image-size 64   (FOLDER/train/<class>/*, FOLDER/test/<class>/*)'

test: check
	$(BIN)/pytest --numprocesses auto --maxprocesses 4 --dist loadfile

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)
	$(BIN)/python benchmarks/distill_throughput.py
