"""What a final file was made from: so a run finds out, without Snakemake's records of it, that it is of other settings.

Those records are in `.snakemake` of the folder that a run was started from, by the path of the file: they are missing
after a run from another folder, and where that folder was cleared or `output_dir` is written otherwise.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence

from captionqa.files import read_json

DIGEST_BYTES = 6


def made_from(chunks: Sequence[str], rules: Mapping[str, object] | None = None) -> str:
    """A digest of what decides a final file: the names of its chunk results, and the rules by which they are graded.

    The names hold the settings, the items and what stands for captions and for answers to judge.
    """
    parts = [*map(os.path.basename, chunks), json.dumps(rules, sort_keys=True)]
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=DIGEST_BYTES).hexdigest()


def is_made_from(provenance_path: str, made: str) -> bool:
    """Whether a final file is what it would be now, by its provenance; where that does not tell, it counts as such."""
    stored: object = read_json(provenance_path)
    return not isinstance(stored, dict) or stored.get("made_from", made) == made
