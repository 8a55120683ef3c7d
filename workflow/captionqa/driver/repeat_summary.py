"""What the end of a run says of questions that are asked more than once: how their answers vary."""

from captionqa.results.repeat_records import RepeatMetrics
from captionqa.run.progress import counted


def repeats_text(repeats: RepeatMetrics) -> str:
    """Such as `2 questions asked 8 times: rounds from 25.0% to 50.0%, mean 37.5%, 50.0% answered alike each time`."""
    low, high = repeats["mean_accuracy_interval_95"] or (0.0, 1.0)
    asked = f"asked {repeats['requests']:,} times"
    if repeats["failed_requests"]:  # a question without an answer to each is in none of the figures
        asked = f"answered each time (of {repeats['requests']:,} requests {repeats['failed_requests']:,} failed)"
    ties = ""
    if repeats["ties"]:
        ties = f", {counted(repeats['ties'], 'tie')}, which {'counts' if repeats['ties'] == 1 else 'count'} as wrong"
    return (
        f"{counted(repeats['questions'], 'question')} {asked}: {_ranges(repeats)}mean "
        f"{repeats['mean_accuracy']:.1%} (95 % interval {low:.1%} to {high:.1%}), {repeats['consistency']:.1%} "
        f"answered alike each time{ties}"
    )


def _ranges(repeats: RepeatMetrics) -> str:
    """From where to where the accuracies of rounds and of samples go, each followed by a comma."""
    text = ""
    for what, spread in (("rounds", repeats["spread_over_rounds"]), ("samples", repeats["spread_over_samples"])):
        if spread is None:
            continue
        text += f"{what} from {spread['lowest']:.1%} to {spread['highest']:.1%}"
        if spread["questions"] != repeats["questions"]:  # then the mean over all questions may be outside of the range
            text += f" over the {spread['questions']:,} in all {what}"
        text += ", "
    return text
