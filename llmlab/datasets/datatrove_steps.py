"""Our parts of a datatrove job: the step that writes ids, and a local executor that keeps quiet.

Nothing but `prepare` imports this module, since datatrove is no part of a class install; and it
imports no torch, which would weigh on every worker.
https://github.com/huggingface/datatrove
"""

import itertools
import signal
import sys
from pathlib import Path

import multiprocess
import numpy as np
from datatrove.data import DocumentsPipeline
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.base import PipelineStep
from loguru import logger
from multiprocess.connection import Connection, wait

from llmlab import artifacts
from llmlab.core.tokenizer import BPE
from llmlab.corpus import long_runs
from llmlab.corpus.sources import is_validation

END = "<|end|>"
BATCH = 500  # documents that are tokenised at a time


def dtype_for(vocab_size: int) -> str:
    """The smallest unsigned type that holds so many ids, in the order of bytes of most machines."""
    return "<u2" if vocab_size <= 1 << 16 else "<u4"


class WriteIds(PipelineStep):
    """Documents to ids, each ended by <|end|>: a file for each task, whole or not there.

    Beside it NAME.json counts what is in it and holds the texts that were held out.  datatrove's
    own DocumentTokenizer would take a "<|end|>" in a text for the special token.

    share: of documents, by their hash, that are held out.
    """

    name, type = "Ids", "Tokenizer"

    def __init__(self, folder: str, tokenizer: BPE, share: float):
        super().__init__()
        self.folder, self.tokenizer, self.share = folder, tokenizer, share

    def run(self, data: DocumentsPipeline, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        encoding, end = self.tokenizer.to_tiktoken(), self.tokenizer.special(END)
        dtype = dtype_for(self.tokenizer.vocab_size)
        counts, held_out, texts = {"ids": 0, "documents": 0, "bytes": 0}, [], (d.text for d in data)
        path = Path(self.folder) / f"{rank:05d}.ids"
        with artifacts.replacing(path) as temp, open(temp, "wb") as out:
            while some := list(itertools.islice(texts, BATCH)):
                held_out += [t for t in some if is_validation(t, self.share)]
                kept = [t for t in some if not is_validation(t, self.share)]
                for text in kept:
                    ids = long_runs.encode(encoding, text)
                    np.array([*ids, end], dtype).tofile(out)
                    counts["ids"] += len(ids) + 1
                counts["documents"] += len(kept)
                counts["bytes"] += sum(len(t.encode()) for t in kept)
        artifacts.write_json(path.with_suffix(".json"), counts | {"held_out": held_out})
        yield from ()


class Local(LocalPipelineExecutor):
    """datatrove's local executor, with a process for each part: one that dies ends the work.

    datatrove's own pool would wait for ever for a worker that was killed.  The processes leave the
    screen and Ctrl-C to the first one, and say in a plain sentence what went wrong.
    """

    def run(self) -> None:
        """Do all parts that are left, `workers` at a time.  RuntimeError where one of them fails
        or its process dies; the others are then ended."""
        if self.workers == 1:
            super().run()
            return
        waiting, running = self.get_incomplete_ranks(), {}
        try:
            while waiting or running:
                while waiting and len(running) < self.workers:
                    process, answer = self._begin(waiting.pop(0))
                    running[process.sentinel] = process, answer
                for sentinel in wait(list(running)):
                    process, answer = running.pop(sentinel)
                    _check_ended(process, answer)
        finally:
            for process, _ in running.values():
                process.terminate()
                process.join()

    def _begin(self, rank: int) -> tuple[multiprocess.Process, Connection]:
        """A process that does a part, and where it says what went wrong."""
        context = multiprocess.get_context(self.start_method)
        answer, says = context.Pipe(duplex=False)
        process = context.Process(target=self._run_alone, args=(rank, says), daemon=True)
        process.start()
        says.close()
        return process, answer

    def _run_alone(self, rank: int, says: Connection) -> None:
        """Do a part in a process of its own."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process ends this one
        try:
            self._run_for_rank(rank)
        except RuntimeError as error:
            says.send(str(error))
            sys.exit(1)

    def _run_for_rank(self, rank: int, local_rank: int = 0, node_rank: int = -1):
        logger.disable("datatrove")
        try:
            return super()._run_for_rank(rank, local_rank + 1, node_rank)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # also a panic of Rust's; many cannot be sent to a process
            cause = " ".join(str(error.__cause__ or error).split())
            raise RuntimeError(cause[:200] or type(error).__name__) from None


def _check_ended(process: multiprocess.Process, answer: Connection) -> None:
    """RuntimeError, with the reason, where a part's process did not end well."""
    process.join()
    if process.exitcode:
        try:
            reason = answer.recv()
        except EOFError:  # it was killed before it could say anything
            reason = f"a worker died with exit code {process.exitcode}, perhaps for lack of memory"
        raise RuntimeError(reason)
