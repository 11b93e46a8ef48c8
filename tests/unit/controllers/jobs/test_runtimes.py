"""Which server serves which model."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from inferstack.api import MetricType, runtimes
from inferstack.controllers.jobs.plan import Plan


@pytest.mark.parametrize(
    ("model", "runtime"),
    [
        ("bert-base-uncased", "text-embeddings-inference"),
        ("google-bert/bert-large-uncased", "text-embeddings-inference"),
        ("FacebookAI/xlm-roberta-base", "text-embeddings-inference"),
        ("distilbert-base-uncased", "text-embeddings-inference"),
        ("sentence-transformers/all-MiniLM-L6-v2", "text-embeddings-inference"),
        ("BAAI/bge-m3", "text-embeddings-inference"),
        ("intfloat/multilingual-e5-large", "text-embeddings-inference"),
        ("Qwen/Qwen3-Embedding-8B", "text-embeddings-inference"),
        ("deepseek-ai/DeepSeek-V3", "vllm"),
        ("meta-llama/Llama-3.1-8B-Instruct", "vllm"),
        ("mistralai/Mistral-7B-v0.3", "vllm"),
        ("Qwen/Qwen3-32B", "vllm"),
        ("openai/gpt-oss-120b", "vllm"),
    ],
)
def test_models(plan_of: Callable[..., Plan], model: str, runtime: str) -> None:
    assert plan_of(model=model).runtime.name == runtime


def test_a_job_may_name_its_server(plan_of: Callable[..., Plan]) -> None:
    assert plan_of(runtime="vllm").runtime.name == "vllm"
    # What the table adds for a model is meant for the table's server.
    assert "--pooling" not in plan_of(runtime="vllm").runtime.args
    triton = plan_of(runtime="triton", args=["--model-repository=/models"]).runtime
    assert triton.name == "triton"


def test_every_metric_has_a_server_and_every_server_the_common_metrics() -> None:
    table = runtimes.load()
    common = set(MetricType) - {MetricType.TIME_TO_FIRST_TOKEN_MILLISECONDS}
    assert all(common <= set(runtime.metrics) for runtime in table.runtimes.values())
    assert set().union(*(runtime.metrics for runtime in table.runtimes.values())) == set(MetricType)


def test_an_image_that_is_not_listed() -> None:
    entry = {"image": "nowhere"}
    with pytest.raises(KeyError, match="nowhere"):
        runtimes.parse({"models": [], "runtimes": {"vllm": entry}}, {"vllm": "v"})
