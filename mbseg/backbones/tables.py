"""The architectures as printed in the papers, and nothing else."""

from typing import Literal, NamedTuple


class V1Row(NamedTuple):
    """Lines of Table 1, arXiv:1704.04861: a 3x3 depthwise and a 1x1 convolution to `c` channels, `n` times."""

    c: int  # output channels
    n: int  # repeats
    s: int  # stride of the first repeat


V1_STEM = 32  # conv 3x3, stride 2
V1_ROWS = (
    V1Row(c=64, n=1, s=1),
    V1Row(c=128, n=2, s=2),
    V1Row(c=256, n=2, s=2),
    V1Row(c=512, n=6, s=2),
    V1Row(c=1024, n=2, s=2),  # the paper prints stride 2 for its last block too: a misprint, 7 x 7 stays 7 x 7
)

FD_ROWS = (  # FD-MobileNet, arXiv:1802.03750, Table 1: the same blocks, 32 times smaller within the first 12 layers
    V1Row(c=64, n=1, s=2),
    V1Row(c=128, n=2, s=2),
    V1Row(c=256, n=2, s=2),
    V1Row(c=512, n=5, s=2),
    V1Row(c=1024, n=1, s=1),
)


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


class V3Row(NamedTuple):
    """One line of Tables 1 and 2, arXiv:1905.02244, under the paper's own column names."""

    kernel: int
    exp: int  # expansion size
    out: int  # output channels
    se: bool  # squeeze-and-excite
    nl: Literal["RE", "HS"]  # ReLU or h-swish
    s: int  # stride


V3_STEM = 16  # conv2d 3x3, stride 2, h-swish
V3_LARGE_ROWS = (
    V3Row(3, 16, 16, False, "RE", 1),
    V3Row(3, 64, 24, False, "RE", 2),
    V3Row(3, 72, 24, False, "RE", 1),
    V3Row(5, 72, 40, True, "RE", 2),
    V3Row(5, 120, 40, True, "RE", 1),
    V3Row(5, 120, 40, True, "RE", 1),
    V3Row(3, 240, 80, False, "HS", 2),
    V3Row(3, 200, 80, False, "HS", 1),
    V3Row(3, 184, 80, False, "HS", 1),
    V3Row(3, 184, 80, False, "HS", 1),
    V3Row(3, 480, 112, True, "HS", 1),
    V3Row(3, 672, 112, True, "HS", 1),
    V3Row(5, 672, 160, True, "HS", 2),
    V3Row(5, 960, 160, True, "HS", 1),
    V3Row(5, 960, 160, True, "HS", 1),
)
V3_LARGE_LAST_CONV = 960  # conv2d 1x1, h-swish
V3_SMALL_ROWS = (
    V3Row(3, 16, 16, True, "RE", 2),
    V3Row(3, 72, 24, False, "RE", 2),
    V3Row(3, 88, 24, False, "RE", 1),
    V3Row(5, 96, 40, True, "HS", 2),
    V3Row(5, 240, 40, True, "HS", 1),
    V3Row(5, 240, 40, True, "HS", 1),
    V3Row(5, 120, 48, True, "HS", 1),
    V3Row(5, 144, 48, True, "HS", 1),
    V3Row(5, 288, 96, True, "HS", 2),
    V3Row(5, 576, 96, True, "HS", 1),
    V3Row(5, 576, 96, True, "HS", 1),
)
V3_SMALL_LAST_CONV = 576  # conv2d 1x1; the table ticks SE here, the authors' code and everyone's weights have none
V3_TAIL = 3  # blocks behind the last stride, which the reduced tail halves (section 6.3 and 6.4)
