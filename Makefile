.PHONY: up test test-faults soak soak-model test-torch test-fuzz test-stubs bench check lint

up:            ## .venv, everything installed, a local cluster in the foreground
	scripts/install
	.venv/bin/shoal up

test:          ## install what the tests need and run them all
	scripts/install dev
	scripts/test

test-faults:   ## what takes minutes because processes are killed in the middle of it
	scripts/install dev
	scripts/test parallel tests/faults

soak:          ## the same with new seeds until the contract's counts are reached; stop it at any time
	scripts/install dev
	scripts/soak

soak-model:    ## the engine against the reference model, up to 300,000 steps in all; stop it at any time
	scripts/install dev
	scripts/soak-model

test-torch:    ## PyTorch over the official SDK's datasets; installs torch, several GB
	scripts/install dev
	scripts/install torch
	scripts/test tests/torch

test-fuzz:     ## bad input: requests made of our own OpenAPI, names, headers, lists; SHOAL_FUZZ_SCALE=10 for more
	scripts/install dev
	scripts/install fuzz
	scripts/test tests/fuzz
	SHOAL_LANE_REQUESTS=100000 scripts/test tests/contract/test_fast_lane.py

test-stubs:    ## the examples in other languages, where their toolchains are there
	scripts/install dev
	scripts/test-stubs

bench:         ## Shoal and its peers in turn on the same work; needs wrk and nginx (docs/bench.md)
	scripts/install bench
	cd bench && ../.venv/bin/python -m shoal_bench

check:         ## format, lint, types, layers, protos, generated code, style
	scripts/install dev
	scripts/check

lint:          ## mend what tools can mend
	scripts/lint
