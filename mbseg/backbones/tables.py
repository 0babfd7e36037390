"""The architectures as printed in the papers, and nothing else."""

from typing import NamedTuple


class V2Row(NamedTuple):
    """One line of Table 2, arXiv:1801.04381, under the paper's own letters."""

    t: int  # expansion factor
    c: int  # output channels
    n: int  # repeats
    s: int  # stride of the first repeat


V2_STEM = 32  # conv2d, stride 2
V2_ROWS = (
    V2Row(t=1, c=16, n=1, s=1),
    V2Row(t=6, c=24, n=2, s=2),
    V2Row(t=6, c=32, n=3, s=2),
    V2Row(t=6, c=64, n=4, s=2),
    V2Row(t=6, c=96, n=3, s=1),
    V2Row(t=6, c=160, n=3, s=2),
    V2Row(t=6, c=320, n=1, s=1),
)
V2_LAST_CONV = 1280  # conv2d 1x1 before the pooling
