"""Asking again on purpose: drop failures, or answers too, so that the next run asks for them.

    python -m captionqa.forget retry-failed --configfile my.yaml [--half qa] [--style SIMPLE] [--reason timeout]
    python -m captionqa.forget forget       --configfile my.yaml [--half qa] [--style SIMPLE] [--reason truncated]

`retry-failed` removes the chunk results that hold failures (of a reason), and the final files above them; answers stay
in the journal. `forget` removes answers too: all of them, or those that were truncated.
"""

import argparse
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from captionqa.command import WORKFLOW
from captionqa.config import check, halves, model_name
from captionqa.errors import CaptionqaError, ConfigError, Reason
from captionqa.files import atomic_writer, json_line
from captionqa.journal import read_lines
from captionqa.layout import HALVES, Layout
from captionqa.lease import holder
from captionqa.merge import read_chunk
from captionqa.settings import caption_settings, fingerprint, qa_settings

TRUNCATED = "truncated"
SCHEMA = WORKFLOW / "schemas" / "config.schema.yaml"


def retry_failed(config: Mapping[str, Any], half: str | None, style: str | None, reason: str | None) -> int:
    """Remove the chunk results with failures, and their final files; returns how many items will be asked again."""
    items = 0
    for work, fingerprint_now, finals in _targets(config, half, style):
        for path in sorted((work / "chunks").glob(f"*.{fingerprint_now}.*.jsonl")):
            _, lines = read_chunk(path)
            failed = sum(line.get("failure") == reason if reason else "failure" in line for line in lines)
            if failed:
                path.unlink()
                _remove(finals)
            items += failed
    return items


def forget(config: Mapping[str, Any], half: str | None, style: str | None, reason: str | None) -> int:
    """Remove answers, chunk results and final files; returns how many items will be asked again.

    With the reason `truncated` only answers that ended at max_tokens go, with a failure's reason only such failures.
    """
    if reason not in (None, TRUNCATED):
        return retry_failed(config, half, style, reason)
    items = 0
    for work, _, finals in _targets(config, half, style):
        dropped = sum(_drop_lines(path, reason) for path in (work / "journal").glob("*.jsonl"))
        if dropped or reason is None:
            shutil.rmtree(work / "chunks", ignore_errors=True)
            _remove(finals)
        items += dropped
    return items


def _drop_lines(path: Path, reason: str | None) -> int:
    """Rewrite a journal segment without its (truncated) answers; returns how many went."""
    lines = list(read_lines(path))
    kept = [line for line in lines if reason == TRUNCATED and line["answer"]["finish_reason"] != "length"]
    with atomic_writer(path) as file:
        file.writelines(map(json_line, kept))
    return len(lines) - len(kept)


def load_config(path: Path) -> dict[str, Any]:
    """Read and check a configuration file; raises ConfigError."""
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    if not isinstance(config, dict):
        raise ConfigError(f"{path} is no mapping of keys; see config/config.yaml.")
    return check(config, yaml.safe_load(SCHEMA.read_text(encoding="utf-8")))


def _targets(config: Mapping[str, Any], half: str | None, style: str | None) -> list[tuple[Path, str, list[Path]]]:
    """(work folder, fingerprint of the present settings, final files) of what is meant."""
    model = model_name(config)
    layout = Layout(config["output_dir"], model)
    if holder(layout.server) is not None:
        raise ConfigError(f"a run works on {config['output_dir']} now; wait for it or stop it first.")
    targets = []
    if "captions" in halves(config) and half in (None, "captions"):
        styles = {name.lower(): name for name in config["captions"]["prompt_styles"]}
        if style is not None and style.lower() not in styles:
            raise ConfigError(f"{style!r} is none of the configured styles: {', '.join(sorted(styles))}.")
        for lower in sorted({style.lower()} if style else styles):
            finals = [layout.captions(lower, suffix) for suffix in ("", "_failures", "_provenance")]
            now = fingerprint(caption_settings(config, model, styles[lower]))
            targets.append((Path(layout.captions_work(lower)), now, list(map(Path, finals))))
    if "qa" in halves(config) and half in (None, "qa") and style is None:
        finals = [layout.qa(kind) for kind in ("results", "metrics", "failures", "provenance")]
        targets.append((Path(layout.qa_work), fingerprint(qa_settings(config, model)), list(map(Path, finals))))
    return targets


def _remove(paths: list[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["retry-failed", "forget"])
    parser.add_argument("--configfile", type=Path, required=True)
    parser.add_argument("--half", choices=HALVES, help="only this half")
    parser.add_argument("--style", help="only this prompt style")
    parser.add_argument("--reason", choices=[*Reason, TRUNCATED], help="only items with this reason")
    args = parser.parse_args()
    try:
        config = load_config(args.configfile)
        if args.action == "retry-failed":
            if args.reason == TRUNCATED:
                raise ConfigError("truncated is a flag on an answer, not a failure: use forget.")
            count = retry_failed(config, args.half, args.style, args.reason)
            print(f"{count} failed items will be asked again by the next run.")
        else:
            count = forget(config, args.half, args.style, args.reason)
            print(f"{count} items were forgotten and will be asked again by the next run.")
    except CaptionqaError as error:
        sys.exit(f"captionqa: {error}")


if __name__ == "__main__":
    main()
