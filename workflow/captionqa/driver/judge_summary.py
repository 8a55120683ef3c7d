"""What the end of a run says of a judge: its own figures, and the accuracy where it decides."""

from captionqa.results.judged_records import JudgeMetrics


def judge_text(metrics: JudgeMetrics) -> str:
    """Such as `judged by NAME: 50.0% of 4 correct; agrees with the rules on 2 of 2 (kappa 1.00); 1 unscored`."""
    judge, agreement = metrics["by_judge"], metrics["agreement"]
    if not judge["items"]:
        return f"judged by {metrics['judge']}: no answer had to be judged"
    parts = [f"{judge['accuracy']:.1%} of {judge['judged']:,} correct" if judge["judged"] else "no answer got a grade"]
    if agreement["n"]:
        kappa = "not defined" if agreement["cohens_kappa"] is None else f"{agreement['cohens_kappa']:.2f}"
        alike = agreement["both_correct"] + agreement["both_incorrect"]
        parts.append(f"agrees with the rules on {alike:,} of {agreement['n']:,} (Cohen's kappa {kappa})")
    if judge["unscored"]:
        parts.append(f"{judge['unscored']:,} unscored, since its words are no grade")
    if judge["failed"]:
        parts.append(f"{judge['failed']:,} failed")
    return f"judged by {metrics['judge']}: {'; '.join(parts)}"


def combined_text(metrics: JudgeMetrics) -> str:
    """The accuracy with the judge's grades where the rules read nothing (`qa.judge.decides`)."""
    combined = metrics["combined"]
    if combined["accuracy"] is None:
        return "no question has a ground truth, so that none is graded"
    low, high = combined["accuracy_interval_95"] or (0.0, 1.0)
    by_judge = combined["graded_by_judge"]
    grades = "1 grade is" if by_judge == 1 else f"{by_judge:,} grades are"
    return (
        f"accuracy with the judge {combined['accuracy']:.1%} ({combined['correct']} of {combined['total']}; "
        f"95 % interval {low:.1%} to {high:.1%}); {grades} the judge's"
    )
