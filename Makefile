.PHONY: test
test:
	python3 -m venv .venv
	.venv/bin/pip install --quiet --editable '.[dev]'
	.venv/bin/pytest tests/unit/etcd tests/unit/core tests/unit/client -q
