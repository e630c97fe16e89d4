# Everything runs in .venv, made from this checkout's own files. PYTHON may be any of 3.10 to 3.13.
PYTHON ?= python3
DEMO ?= demo-data
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

.PHONY: demo test lint check bench bench-disk fuzz pictures clean

demo: .venv/installed
	$(BIN)/h36m demo $(DEMO)

# The whole suite, the linter and the type checker; CI runs exactly this.
test: .venv/test-installed lint
	$(BIN)/python -m pytest -n auto
	$(BIN)/python tests/check_wheel.py

lint: .venv/test-installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check: test

# Every claim of docs/performance.md but those of bench-disk.
bench: .venv/installed
	for script in extract_frames sparse_frames undistorted_frames mask_boxes \
		metrics lifters train_epoch torchrun_scaling \
		contextpose_forward poseformer_loader views_loader poseformer_forward integral \
		gpu; do \
		$(BIN)/python benchmarks/speed/$$script.py || exit 1; \
	done

# Labels at full size: 15 GB in the temporary folder, and about 20 minutes on two free cores.
bench-disk: .venv/installed
	for script in growth label_formats; do $(BIN)/python benchmarks/speed/$$script.py || exit 1; done

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python pyproject.toml constraints.txt
	$(PIP) --editable .
	touch $@

.venv/test-installed: .venv/installed
	$(PIP) --editable '.[test]'
	touch $@

# The readers of other people's files, at depth.
fuzz: .venv/test-installed
	$(BIN)/python tests/fuzz/run.py --seconds 3600

# The pictures of the README, from synthetic data; the page needs Chromium.
pictures: .venv/test-installed
	$(BIN)/h36m synth demo-walk/raw --subjects S1,S5,S6,S7,S8,S9 --actions Walking --frames 60
	$(BIN)/h36m extract demo-walk/raw --out demo-walk/data --subjects S9
	$(BIN)/h36m detections demo-walk/raw --out demo-walk/data
	$(BIN)/h36m labels demo-walk/raw --out demo-walk/data
	$(BIN)/h36m train --model martinez --data demo-walk/data --runs demo-walk/runs --name train --epochs 60
	$(BIN)/h36m bench --model martinez --data demo-walk/data --runs demo-walk/runs \
		--weights demo-walk/runs/train/checkpoint_best.pt
	$(BIN)/h36m view --data demo-walk/data --run "$$(ls -d demo-walk/runs/martinez-* | tail -n 1)" --subject S9 \
		--action Walking --camera 54138969 --size 300 --downsample 2 --out docs/pictures/walking.gif
	$(BIN)/h36m report "$$(ls -d demo-walk/runs/martinez-* | tail -n 1)" --data demo-walk/data --out demo-walk/report.html
	$(BIN)/python tests/browser/check_report.py demo-walk/report.html --screenshot docs/pictures/report.png --height 2400

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
