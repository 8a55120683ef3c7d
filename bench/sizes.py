"""How much of each part is run: FULL for figures, QUICK to see that everything works."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Sizes:
    """How many rounds, images and items the parts have."""

    #: Rounds of clients on a real vLLM.
    rounds: int
    #: Rounds of clients on the simulator.
    simulator_rounds: int
    #: Rounds of `resize`, `front` and `cache`, whose differences are large.
    server_rounds: int
    client_images: int
    ceiling_images: int
    sequential_images: int
    vllm_images: int
    photographs: int
    #: Of the part `gpu`, where there is a GPU.
    gpu_photographs: int
    cache_images: int
    style_photographs: int
    #: The most images of `styles` on the simulator; a slow machine has fewer.
    style_images: int
    workflow_images: int
    scale: tuple[int, ...]


FULL = Sizes(
    rounds=5,
    simulator_rounds=3,
    server_rounds=3,
    client_images=2560,
    ceiling_images=2000,
    sequential_images=16,
    vllm_images=300,
    photographs=48,
    gpu_photographs=1000,
    cache_images=120,
    style_photographs=72,
    style_images=1000,
    workflow_images=2000,
    scale=(1_000, 10_000, 100_000, 1_000_000),
)
QUICK = Sizes(
    rounds=1,
    simulator_rounds=1,
    server_rounds=1,
    client_images=256,
    ceiling_images=200,
    sequential_images=6,
    vllm_images=24,
    photographs=8,
    gpu_photographs=64,
    cache_images=40,
    style_photographs=24,
    style_images=60,
    workflow_images=0,
    scale=(1_000,),
)
