"""Stage 0, the map: what a model costs, from its shape: parameters, FLOPs, hours, money, memory.

Everything here is arithmetic on published formulas, each with its source, but for two things at
the end: the bill of this project's own line, read from its logs, and the speed of this machine,
which is measured.  `published_checks` holds the formulas against what others have published.
"""

import ast
import io
import math
import os
import time
import tokenize
from dataclasses import dataclass

import torch

from llmlab.core.model import ModelConfig
from llmlab.lab import Lab

HOUR, DAY = 3600, 86_400  # seconds
TOKENS_PER_PARAMETER = 20  # Hoffmann et al. 2022, table 3: 1.5 T tokens for 67 B parameters


# --- Parameters -----------------------------------------------------------------------------


@dataclass(frozen=True)
class GPTShape:
    """The shape of GPT-2 and GPT-3: biases everywhere, an MLP four times as wide, positions in a
    table, the head tied to the embedding.  Radford et al. 2019, section 2.3."""

    dim: int
    n_layers: int
    n_heads: int
    vocab_size: int = 50_257
    max_seq_len: int = 1024

    @property
    def head_dim(self) -> int:
        return self.dim // self.n_heads

    @property
    def n_kv_heads(self) -> int:
        return self.n_heads


Shape = ModelConfig | GPTShape


def llama(dim, n_layers, n_heads, hidden_dim, vocab_size=32_000, n_kv_heads=None, **more):
    """The shape of a published Llama: head untied, no norm on queries and keys."""
    more = {"head_dim": dim // n_heads, "tie_embeddings": False, **more}
    return ModelConfig(
        vocab_size, dim, n_layers, n_heads, n_kv_heads or n_heads, hidden_dim, qk_norm=False, **more
    )


def parameters(shape: Shape) -> dict[str, int]:
    """How many numbers a model learns, part by part; their sum is N."""
    d, layers = shape.dim, shape.n_layers
    embedding = shape.vocab_size * d
    if isinstance(shape, GPTShape):
        return {
            "embedding": embedding,
            "positions": shape.max_seq_len * d,
            "attention": layers * 4 * (d * d + d),
            "mlp": layers * (8 * d * d + 5 * d),
            "norms": (2 * layers + 1) * 2 * d,  # a weight and a bias each
            "head": 0,
        }
    heads = 2 * (shape.n_heads + shape.n_kv_heads)  # queries and output, keys and values
    return {
        "embedding": embedding,
        "attention": layers * d * heads * shape.head_dim,
        "mlp": layers * 3 * d * shape.hidden_dim,  # SwiGLU: gate, up, down
        "norms": (2 * layers + 1) * d + 2 * layers * shape.head_dim * shape.qk_norm,
        "head": 0 if shape.tie_embeddings else embedding,
    }


def total(shape: Shape) -> int:
    """N, the number of parameters."""
    return sum(parameters(shape).values())


# --- FLOPs ----------------------------------------------------------------------------------


def train_flops(n: float, tokens: float) -> float:
    """6 N D: 2 for each weight forward, 4 backward.  Kaplan et al. 2020, section 2.1."""
    return 6 * n * tokens


def inference_flops(n: float, tokens: float) -> float:
    """2 N D: a multiplication and an addition for each weight and token."""
    return 2 * n * tokens


def token_flops(shape: Shape, seq_len: int) -> dict[str, float]:
    """Training FLOPs of one token, by what is really multiplied.

    6 N leaves out the attention scores, 12 L T H hd (Chowdhery et al. 2022, appendix B, which
    does not halve them for the causal mask), and counts look-up tables, which multiply nothing.
    """
    parts = parameters(shape)
    width = shape.n_heads * shape.head_dim
    return {
        "matrices": 6 * (parts["attention"] + parts["mlp"]),
        "attention scores": 12 * shape.n_layers * seq_len * width,
        "head": 6 * shape.vocab_size * shape.dim,
    }


def attention_share(shape: Shape, seq_len: int) -> float:
    """The share of a token's training FLOPs that 6 N does not see."""
    parts = token_flops(shape, seq_len)
    return parts["attention scores"] / sum(parts.values())


def compute_optimal(flops: float) -> tuple[float, float]:
    """Parameters and tokens that make the most of a budget: 6 N D = flops and D = 20 N.

    Hoffmann et al. 2022, fitted on 70 M to 16 B parameters: below that it is a rule of thumb.
    """
    n = math.sqrt(flops / (6 * TOKENS_PER_PARAMETER))
    return n, TOKENS_PER_PARAMETER * n


def petaflop_days(flops: float) -> float:
    """FLOPs in petaflop/s-days, the unit of OpenAI's papers."""
    return flops / (1e15 * DAY)


# --- Hours and money ------------------------------------------------------------------------


@dataclass(frozen=True)
class GPU:
    """peak: dense 16-bit FLOP/s, from the maker's data sheet; memory in bytes; dollars an hour:
    a round figure to start from, not an offer."""

    name: str
    peak: float
    memory: float
    dollars: float


A100 = GPU("A100", 312e12, 80e9, 2.0)
H100 = GPU("H100", 989e12, 80e9, 3.0)
T4 = GPU("T4", 65e12, 16e9, 0.35)
GPUS = (A100, H100, T4)


def gpu_hours(flops: float, peak: float, utilisation: float) -> float:
    """Hours of one device that reaches the share `utilisation` of its peak, in FLOP/s."""
    return flops / (peak * utilisation) / HOUR


def model_utilisation(shape: Shape, seq_len: int, tokens_per_s: float, peak: float) -> float:
    """The model FLOPs utilisation (MFU): the share of the peak that does the model's arithmetic.

    Chowdhery et al. 2022, app. B.  tokens_per_s and peak are of one device, or both of all devices.
    """
    scores = token_flops(shape, seq_len)["attention scores"]
    return tokens_per_s * (6 * total(shape) + scores) / peak


# --- Memory, in bytes -----------------------------------------------------------------------


def training_memory(n: float, muon_share: float = 0.0) -> dict[str, float]:
    """What each parameter takes in mixed precision: 16 bytes with AdamW.

    Rajbhandari et al. 2020 (ZeRO), section 3.1.  Muon keeps no variance: muon_share is the share
    of the parameters that it moves.
    """
    return {
        "weights": 2 * n,
        "gradients": 2 * n,
        "fp32 copy": 4 * n,
        "momentum": 4 * n,
        "variance": 4 * n * (1 - muon_share),
    }


def activation_memory(shape: Shape, seq_len: int, batch: int = 1, recompute="none") -> float:
    """What the forward pass leaves for the backward pass, in 16 bits, on one device.

    recompute: "none", "selective" (the attention scores, as fused attention also does) or "full"
    (all but each layer's input).  Korthikanti et al. 2022, eq. 1 and table 2, for the GPT layout
    with dropout; other layouts keep somewhat more or less.
    """
    scores = 5 * shape.n_heads * seq_len / shape.dim
    per_number = {"none": 34 + scores, "selective": 34, "full": 2}[recompute]
    return shape.n_layers * seq_len * batch * shape.dim * per_number


def kv_cache_memory(shape: Shape, tokens: int, batch: int = 1, number_bytes: int = 2) -> int:
    """A key and a value for each layer, key-value head and token.  Kwon et al. 2023, section 3."""
    per_token = 2 * shape.n_layers * shape.n_kv_heads * shape.head_dim * number_bytes
    return per_token * tokens * batch


# --- What others have published -------------------------------------------------------------


@dataclass(frozen=True)
class Model:
    """A published model: n, tokens and gpu_hours as its authors print them, where they do."""

    name: str
    n: float
    source: str
    shape: Shape | None = None
    tokens: float | None = None
    gpu: GPU | None = None
    gpu_hours: float | None = None

    @property
    def parameters(self) -> float:
        """Counted from the shape where it is known."""
        return total(self.shape) if self.shape else self.n


GPT2 = "Radford et al. 2019; openai/gpt-2"  # where the paper's counts are corrected
GPT3 = "Brown et al. 2020, tables 2.1 and D.1"
LLAMA = "Touvron et al. 2023a, tables 2 and 15"
LLAMA2 = "Touvron et al. 2023b, tables 1 and 2"
LLAMA3 = "Llama Team 2024, section 3; model card"
CHINCHILLA = "Hoffmann et al. 2022, tables 3 and 4"
PALM = "Chowdhery et al. 2022, table 1, appendix B"
SHAPE3 = {"vocab_size": 128_256, "n_kv_heads": 8, "max_seq_len": 8192}

PUBLISHED = (
    Model("GPT-2", 124e6, GPT2, GPTShape(768, 12, 12)),
    Model("GPT-2 XL", 1558e6, GPT2, GPTShape(1600, 48, 25)),
    Model("GPT-3", 174.6e9, GPT3, GPTShape(12_288, 96, 96, max_seq_len=2048), 300e9),
    Model("LLaMA 7B", 6.7e9, LLAMA, llama(4096, 32, 32, 11_008), 1e12, A100, 82_432),
    Model("LLaMA 13B", 13.0e9, LLAMA, llama(5120, 40, 40, 13_824), 1e12, A100, 135_168),
    Model("LLaMA 33B", 32.5e9, LLAMA, llama(6656, 60, 52, 17_920), 1.4e12, A100, 530_432),
    Model("LLaMA 65B", 65.2e9, LLAMA, llama(8192, 80, 64, 22_016), 1.4e12, A100, 1_022_362),
    Model("Chinchilla", 70e9, CHINCHILLA, None, 1.4e12),
    Model(
        "PaLM 540B", 540.35e9, PALM, tokens=780e9,
        shape=llama(18_432, 118, 48, 73_728, 256_000, 1, head_dim=256, tie_embeddings=True),
    ),
    Model("Llama 2 7B", 7e9, LLAMA2, llama(4096, 32, 32, 11_008), 2e12, A100, 184_320),
    Model(
        "Llama 2 70B", 70e9, LLAMA2, llama(8192, 80, 64, 28_672, n_kv_heads=8), 2e12, A100,
        1_720_320,
    ),
    Model("Llama 3.1 8B", 8e9, LLAMA3, llama(4096, 32, 32, 14_336, **SHAPE3), 15e12),
    Model(
        "Llama 3.1 405B", 405e9, LLAMA3, llama(16_384, 126, 128, 53_248, **SHAPE3), 15.6e12, H100,
        30.84e6,
    ),
)  # fmt: skip

# Petaflop/s-days of GPT-3 and of the 175 B models made from it.  Ouyang et al. 2022, section 5.1.
# The reward model, of 6 B parameters, is not on the authors' bill.
INSTRUCT_GPT = {"pretraining": 3640.0, "SFT": 4.9, "RL": 60.0}

# Thousands of H800 hours.  DeepSeek-AI 2024, table 1: 2664 for pretraining, 119 for longer
# contexts, 5 for SFT and RL.  R1 begins with the same base; DeepSeek-AI 2025 (Nature 645),
# supplement: 101 for R1-Zero, 5 for SFT data, 41 for R1 itself.
DEEPSEEK_V3 = {"pretraining": 2664.0 + 119.0, "SFT and RL": 5.0}
DEEPSEEK_R1 = {"pretraining": 2664.0 + 119.0, "SFT": 5.0, "RL": 101.0 + 41.0}


def published(name: str) -> Model:
    """The published model of that name."""
    return next(model for model in PUBLISHED if model.name == name)


def cost_shares(bill: dict[str, float]) -> dict[str, float]:
    """Each item's share of the whole."""
    return {item: cost / sum(bill.values()) for item, cost in bill.items()}


@dataclass(frozen=True)
class Check:
    """A published figure, the same from our formulas, and how far apart they may be."""

    figure: str
    published: float
    ours: float
    band: float  # relative
    source: str

    @property
    def off(self) -> float:
        return self.ours / self.published - 1

    @property
    def holds(self) -> bool:
        return abs(self.off) <= self.band


def published_checks() -> list[Check]:
    """Published figures beside ours, each within its band."""
    band = {"GPT-2": 0.005, "Llama 2 70B": 0.02}
    checks = [
        Check(f"{m.name}: parameters", m.n, m.parameters, band.get(m.name, 0.006), m.source)
        for m in PUBLISHED
        if m.shape and m.name != "Llama 2 7B"  # LLaMA 7B's shape; printed as 7 billion
    ]
    gpt3, big = published("GPT-3"), published("Llama 3.1 405B")
    flops = train_flops(gpt3.parameters, gpt3.tokens)
    share = cost_shares({**INSTRUCT_GPT, "pretraining": petaflop_days(flops)})["pretraining"]
    checks += [
        Check("GPT-3: FLOPs", 3.14e23, flops, 0.005, "Brown et al. 2020, table D.1"),
        Check("GPT-3: petaflop/s-days", 3640, petaflop_days(flops), 0.005,
              "Brown et al. 2020, table D.1"),
        Check("InstructGPT: pretraining's share", cost_shares(INSTRUCT_GPT)["pretraining"], share,
              0.001, "Ouyang et al. 2022, section 5.1"),
        Check("Llama 3.1 405B: FLOPs", 3.8e25, train_flops(big.parameters, big.tokens), 0.01,
              "Llama Team 2024, section 1"),
        Check("Chinchilla: FLOPs", 5.76e23, train_flops(70e9, 1.4e12), 0.03, CHINCHILLA),
        Check("Chinchilla: size for its FLOPs", 70e9, compute_optimal(5.76e23)[0], 0.02,
              CHINCHILLA),
    ]  # fmt: skip
    return checks + hour_checks() + memory_checks()


def hour_checks() -> list[Check]:
    """LLaMA's GPU-hours at the utilisation of its largest model, 380 tokens a second and GPU;
    PaLM's utilisation at 238,300 tokens a second on 6,144 chips of 275 TFLOP/s."""
    llamas = [m for m in PUBLISHED if m.source == LLAMA]
    used = 6 * llamas[-1].parameters * 380 / A100.peak
    palm = model_utilisation(published("PaLM 540B").shape, 2048, 238_300, 6144 * 275e12)
    return [
        Check(f"{m.name}: GPU-hours", m.gpu_hours,
              gpu_hours(train_flops(m.parameters, m.tokens), A100.peak, used), 0.1, LLAMA)
        for m in llamas
    ] + [Check("PaLM 540B: utilisation", 0.462, palm, 0.005, PALM)]  # fmt: skip


def memory_checks() -> list[Check]:
    """OPT 13B's cache, a 7.5 B model's training state, what selective recomputation saves."""
    opt, turing = GPTShape(5120, 40, 40), GPTShape(20_480, 105, 128)
    zero, korthikanti = "Rajbhandari et al. 2020, figure 1", "Korthikanti et al. 2022, section 5"

    def saved(shape: GPTShape) -> float:
        kept = activation_memory(shape, 2048, recompute="selective")
        return 1 - kept / activation_memory(shape, 2048)

    return [
        Check("OPT 13B: KV cache of a token, KiB", 800, kv_cache_memory(opt, 1) / 1024, 0.001,
              "Kwon et al. 2023, section 3"),
        Check("7.5 B parameters: training state, GB", 120, sum(training_memory(7.5).values()),
              0.001, zero),
        Check("GPT-3: activations saved", 0.70, saved(published("GPT-3").shape), 0.01, korthikanti),
        Check("MT-NLG 530B: activations saved", 0.65, saved(turing), 0.01, korthikanti),
    ]  # fmt: skip


# --- This machine ---------------------------------------------------------------------------


def matmul_peak(device: str, dtype: torch.dtype, seconds: float = 0.3) -> float:
    """The best speed of a square matrix product seen within `seconds`, in FLOP/s."""
    size = 8192 if device == "cuda" else 1024
    a = torch.randn(size, size, device=device).to(dtype)
    best, end = math.inf, time.perf_counter() + seconds
    while time.perf_counter() < end or best == math.inf:
        start = time.perf_counter()
        a @ a
        if device == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best


def this_machine(lab: Lab) -> GPU:
    """This machine as a `GPU`: its measured peak in the lab's dtype, its memory, no price."""
    if lab.device == "cuda":
        memory = torch.cuda.get_device_properties(0).total_memory
    elif hasattr(os, "sysconf"):
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    else:
        memory = 8e9  # Windows does not say: a small laptop's
    return GPU("this machine", matmul_peak(lab.device, lab.dtype), float(memory), 0.0)


def night(peak: float, utilisation: float = 0.3, hours: float = 8) -> tuple[float, float]:
    """Parameters and tokens of the best model that a machine trains in a night."""
    return compute_optimal(peak * utilisation * hours * HOUR)


# --- Words and lines ------------------------------------------------------------------------


def short(number: float) -> str:
    """A count in three figures and a word that is easily said: 6.74 billion."""
    words = ("trillion", "billion", "million", "thousand")
    for size, word in zip((1e12, 1e9, 1e6, 1e3), words, strict=True):
        if number >= size:
            return f"{number / size:.3g} {word}"
    return f"{number:.3g}"


def duration(hours: float) -> str:
    """Hours in the unit that fits: 3.2 days."""
    for size, word in ((24 * 365.25, "years"), (24, "days"), (1, "hours"), (1 / 60, "minutes")):
        if hours >= size:
            number = hours / size
            return f"{number:,.0f} {word}" if number >= 100 else f"{number:.3g} {word}"
    return f"{hours * HOUR:.3g} seconds"


def code_lines(source: str) -> int:
    """Lines of Python that hold code: not blank, not a comment, not part of a docstring."""
    quiet = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    spans = [(t.start[0], t.end[0]) for t in tokens if t.type not in quiet | {tokenize.ENDMARKER}]
    lines = {line for first, last in spans for line in range(first, last + 1)}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if ast.get_docstring(node, clean=False) is not None:
                lines -= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    return len(lines)
