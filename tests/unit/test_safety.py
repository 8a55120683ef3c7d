"""What the code never does with what it reads: evaluate it, unpickle it, or hand it to a shell."""

import ast

import pytest
from captionqa.server import vllm_command

FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "joblib", "marshal", "shelve", "code", "codeop"}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}
FORBIDDEN_ATTRIBUTES = {
    "os.system",
    "os.popen",
    "yaml.load",
    "yaml.load_all",
    "yaml.unsafe_load",
    "yaml.full_load",
    "pd.read_pickle",
    "pd.eval",
    "np.load",
    "subprocess.getoutput",
}
FORBIDDEN_KEYWORDS = {"shell", "allow_pickle", "trust_remote_code"}


def offences(source):
    """What a module does of all that it must not."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            found += [name for name in names if name.partition(".")[0] in FORBIDDEN_MODULES]
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            found += [called] if called in FORBIDDEN_CALLS | FORBIDDEN_ATTRIBUTES else []
            found += [
                f"{called}({keyword.arg}=...)"
                for keyword in node.keywords
                if keyword.arg in FORBIDDEN_KEYWORDS and ast.unparse(keyword.value) != "False"
            ]
    return found


@pytest.mark.slow
def test_no_module_evaluates_unpickles_or_calls_a_shell(workflow_folder):
    modules = [*workflow_folder.glob("captionqa/**/*.py"), *workflow_folder.glob("scripts/*.py")]
    assert len(modules) > 30
    assert {module.name: offences(module.read_text()) for module in modules if offences(module.read_text())} == {}


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads",
        "eval(answer)",
        "yaml.load(text)",
        "subprocess.run(text, shell=True)",
        "os.system(text)",
        "AutoModel.from_pretrained(name, trust_remote_code=True)",
    ],
)
def test_what_is_forbidden_is_seen(source):
    assert len(offences(source)) == 1


def test_a_models_own_code_is_run_only_where_the_user_asks_for_it(make_config):
    option = "--trust-remote-code"
    for extra_args in ([], [option]):
        config = make_config({"models": {"tiny": {"server": {"extra_args": extra_args, "tensor_parallel_size": 1}}}})
        argv = vllm_command.arguments(config.model.server, "org/tiny", "tiny", "127.0.0.1", 8000)
        assert (option in argv) is (option in extra_args)
