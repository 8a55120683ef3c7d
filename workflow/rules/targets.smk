# The files that a run is to make.
from captionqa.config.exports import export_folders


def pages_if_wanted():
    """The page of each data set, and that of all where they have names."""
    if not CONFIG.report.page:
        return []
    pages = [one.layout().page for one in CONFIG.data_sets.values()]
    return [*pages, RUN_LAYOUT.page] if CONFIG.named else pages


def pages_without_judge():
    """Those that show nothing of a judge, where there is one: that of all data sets shows it."""
    judged = [one.layout().page for one in CONFIG.data_sets.values() if one.judge is not None]
    return [page for page in pages_if_wanted() if page not in (*judged, RUN_LAYOUT.page)]


def report_labels(what):
    """The labels of a part of a page in Snakemake's report, with the name of the data set where it has one."""

    def labels(wildcards):
        name = CONFIG.of_data_set(wildcards.data_set).data_set
        return {"what": what} | ({"data set": name} if name else {})

    return labels


def final_files(suffixes=None, data_sets=DATA_SETS):
    """The final files of data sets; with `suffixes`, a pair for captions and for qa, their companion files instead."""
    captions, qa = suffixes or ("", "results")
    files = []
    for one in map(CONFIG.of_data_set, data_sets):
        layouts = {model: one.layout(model) for model in MODELS}
        files += [layouts[model].captions(each.key, captions) for model in one.captioners for each in one.caption_sets]
        files += [layouts[model].qa(qa, context.suffix) for model, context in one.answers]
        if suffixes is None:
            files += [layouts[model].qa("metrics", context.suffix) for model, context in one.answers]
    return files


def graded_files():
    """The files that say how the rules grade."""
    sets = [answers.results for answers in ANSWER_SETS] + [answers.companion("metrics") for answers in ANSWER_SETS]
    return sets + comparison_if_wanted()


def judged_files(*kinds, data_sets=DATA_SETS):
    """Files of the judge beside the results of each answer set of data sets, of those that have a judge."""
    judged = [one for one in map(CONFIG.of_data_set, data_sets) if one.judge is not None]
    return [
        one.layout(model).qa(kind, context.suffix) for kind in kinds for one in judged for model, context in one.answers
    ]


def comparison_if_wanted():
    """The files of the comparison, which needs two contexts."""
    endings = ("json", "csv", "md") if len(ANSWER_SETS) > 1 else ()
    return [LAYOUT.comparison(ending) for ending in endings]


def comparison_if_shown(wildcards):
    """The files of the comparison, for the page of a data set whose answers it compares with each other."""
    return comparison_if_wanted() if len(CONFIG.of_data_set(wildcards.data_set).answers) > 1 else []


def exports():
    """The summaries of all exports, each of which is in the folder of its export."""
    parts = [(one, one.layout(model)) for one in CONFIG.data_sets.values() for model in MODELS]
    folders = [folder for one, layout in parts for _, folder in export_folders(one, layout)]
    return [LAYOUT.export_summary(folder) for folder in folders]
