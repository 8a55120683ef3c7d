"""The parts `resize` and `front`: photographs on a vLLM whose preprocessing is the bottleneck."""

from functools import partial

from bench import clients, servers
from bench.clients import Target
from bench.report import OURS, Row
from bench.running import ANSWER_TOKENS, MODEL, SIMULATED_GPU, VLLM_CONCURRENCY, Bench, Run

MEGAPIXEL = 1 << 20
#: How many API servers are simulated.
API_SERVERS = (1, 2, 4, 8)
#: Keeps normalizing out of the engine, which costs a GPU nothing but takes a CPU most of its time.
OPTIONS = (*servers.NO_CACHES, "--no-mm-device-do-normalize")


def resize(bench: Bench) -> list[Row]:
    """2048-pixel photographs, as they are and shrunk."""
    names = (f"{OURS}, as they are", f"{OURS}, shrunk to 1 megapixel")
    rows = [Row("resize", name, limit=names[0]) for name in names]
    model = servers.wide_model(MODEL, bench.folder / "wide-model")
    with servers.vllm(model, bench.folder / "vllm-resize.log", OPTIONS) as running:
        url, server, _ = running
        images, image_kb = bench.images(2048, 1200, bench.sizes.photographs)
        target = Target(url, "bench", images, image_kb, bench.sizes.photographs, ANSWER_TOKENS)

        def run(limit_px: int | None) -> Run:
            sent = {"max_pixels": limit_px}
            return partial(
                clients.captionqa, target, bench.folder / "resize", concurrency=VLLM_CONCURRENCY, images=sent
            )

        runs = {names[0]: run(None), names[1]: run(MEGAPIXEL)}
        with servers.core_of_its_own(server):
            runs[names[1]]()  # vLLM's first requests are slow
            bench.with_servers(rows, runs, [running] * len(rows), target.count, bench.sizes.server_rounds)
    return rows


def front(bench: Bench) -> list[Row]:
    """The same photographs on one and on two API servers, and on up to eight simulated ones with the measured cost.

    Server and client may use all cores.
    """
    names = (f"{OURS}, one API server", f"{OURS}, two API servers")
    rows = [Row("front", name, limit=names[0]) for name in names]
    model = servers.wide_model(MODEL, bench.folder / "wide-model-front")
    options = (*OPTIONS, "--allowed-local-media-path", str(bench.folder))
    images, image_kb = bench.images(2048, 1200, bench.sizes.photographs)

    def run(url: str, of: str = "bench") -> Run:
        target = Target(url, of, images, image_kb, bench.sizes.photographs, ANSWER_TOKENS)
        job = bench.folder / "front"
        return partial(clients.captionqa, target, job, concurrency=VLLM_CONCURRENCY, image_transport="file")

    with (
        servers.vllm(model, bench.folder / "vllm-front-1.log", options) as one,
        servers.vllm(model, bench.folder / "vllm-front-2.log", (*options, "--api-server-count", "2")) as two,
    ):
        runs = {row.name: run(url) for row, (url, *_) in zip(rows, (one, two), strict=True)}
        for row in rows:
            runs[row.name]()  # vLLM's first requests are slow
        before = servers.thread_seconds(one)
        bench.with_servers(rows, runs, (one, two), bench.sizes.photographs, bench.sizes.server_rounds)
        spent = [total - before.get(thread, 0.0) for thread, total in servers.thread_seconds(one).items()]
    preprocess_s = max(spent) / bench.sizes.photographs / bench.sizes.server_rounds
    rows[0].figures["of it one thread"] = 1000 * preprocess_s
    for count in API_SERVERS:
        row = Row("front", f"{OURS}, {count} simulated", limit=f"{OURS}, {API_SERVERS[0]} simulated")
        cost = ("--api-servers", str(count), "--preprocess-s", str(preprocess_s))
        with servers.simulator(*SIMULATED_GPU, *cost) as url:
            rows += bench.interleaved([row], {row.name: run(url, "simulator")}, rounds=1)
    return rows
